//! Sealed bytes are what was put in, can be found again by their place, and go over a socket unchanged.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::io::{self, Read as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use atoll_sealed::Sealed;

/// Some pages, and a part of one.
const LEN: usize = 3 * 4096 * 64 + 1234;

fn noise() -> Vec<u8> {
    (0..LEN as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client)
}

#[test]
fn the_bytes_are_those_of_all_parts() {
    let noise = noise();
    let (first, second) = noise.split_at(5000);
    let sealed = Sealed::new(&[first, second]).unwrap();
    let bytes = sealed.bytes();
    assert_eq!(bytes, noise);
    drop(sealed);
    assert_eq!(bytes, noise, "the bytes keep the file");
}

#[test]
fn nothing_is_refused() {
    let none: [&[u8]; 2] = [b"", b""];
    assert_eq!(Sealed::new(&none).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_slice_is_found_by_its_place_alone() {
    let noise = noise();
    let sealed = Sealed::new(&[&noise]).unwrap();
    let other = Sealed::new(&[&noise]).unwrap();
    let bytes = sealed.bytes();
    assert_eq!(sealed.offset_of(&bytes), Some(0));
    assert_eq!(sealed.offset_of(&bytes[4097..5000]), Some(4097));
    assert_eq!(sealed.offset_of(&bytes[LEN - 1..]), Some(LEN as u64 - 1));
    assert_eq!(sealed.offset_of(&bytes[LEN..]), None, "nothing is nowhere");
    assert_eq!(sealed.offset_of(&noise), None);
    assert_eq!(other.offset_of(&bytes), None);
}

#[test]
fn head_and_bytes_go_over_a_socket() {
    let noise = noise();
    let (server, mut client) = pair();
    let sending = thread::spawn({
        let sealed = Sealed::new(&[&noise]).unwrap();
        move || {
            let mut sent = sealed.send_after(b"head", &server, 100, LEN - 100).unwrap();
            while sent < 4 + LEN - 100 {
                assert!(sent >= 4);
                let offset = 100 + sent - 4;
                sent += sealed.send(&server, offset as u64, LEN - offset).unwrap();
            }
        }
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    sending.join().unwrap();
    assert_eq!(&received[..4], b"head");
    assert!(received[4..] == noise[100..]);
}

#[test]
fn a_full_socket_says_so() {
    let sealed = Sealed::new(&[noise()]).unwrap();
    let (server, _client) = pair();
    server.set_nonblocking(true).unwrap();
    let full = (0..1000).find_map(|_| sealed.send_after(b"head", &server, 0, LEN).err());
    assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
}
