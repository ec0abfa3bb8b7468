//! Storing an origin's answer while it is sent, and forgetting what a request has changed.

use std::sync::Arc;

use atoll_cache::{
    Entry, Key, Purge, Pushed, Reading, Store, Times, Variant, Writing, invalidated, invalidated_groups,
};
use atoll_fallback::{Answer, Download};
use http::{Response, StatusCode, header, response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::{Asked, Front};

/// What becomes of an origin's answer.
pub(super) enum Kept {
    /// It is stored, and read from there while it arrives.
    Stored(response::Parts, Arc<Entry>, Reading),
    /// It is not.
    Passed(response::Parts, Download),
}

/// Stores an answer, if it may be and there is room for it. `begun` is when it was asked for.
pub(super) fn keep(front: &Front, asked: &Asked, begun: u64, times: Times, response: Answer) -> Kept {
    let (parts, mut body) = response.into_parts();
    let key = stored_as(asked, &parts);
    let stored = front.rules.store((&asked.head.method, &asked.head.headers), &parts, times).ok();
    let stored = stored.and_then(|stored| Some((stored, Variant::of(&asked.head.headers, &parts.headers)?)));
    let (Some(key), Some((stored, variant))) = (key, stored) else {
        if asked.is_shareable() && parts.status != StatusCode::NOT_MODIFIED {
            match asked.wants_less() {
                // It had to ask for all, for everybody.
                true => front.store.set_apart(&asked.key),
                false => front.store.set_apart_if_followed(&asked.key),
            }
        }
        return Kept::Passed(parts, body);
    };
    let begun_fill = front.store.begin(body.size_hint().exact());
    let Some((fill, writing, reading)) = begun_fill.and_then(|(fill, writing)| {
        let reading = fill.read()?;
        Some((fill, writing, reading))
    }) else {
        front.store.set_apart(&key);
        return Kept::Passed(parts, body);
    };
    let entry = Entry::new(stored, variant, fill, begun);
    // A body that is there already need not wait for its turn.
    let arriving = if body.is_end_stream() {
        writing.end();
        None
    } else if let Some(whole) = body.whole() {
        writing.end_with(whole);
        None
    } else {
        Some(writing)
    };
    front.store.insert(&key, Arc::clone(&entry));
    match arriving {
        Some(writing) => {
            tokio::spawn(fill_up(Arc::clone(&front.store), key, Arc::clone(&entry), writing, body));
        }
        None if entry.fill.whole().is_none() => front.store.settle(&key, &entry),
        None => {}
    }
    Kept::Stored(parts, entry, reading)
}

/// The URL that an answer is of: a POST's is of the one that it names, if that is its own.
fn stored_as(asked: &Asked, parts: &response::Parts) -> Option<Key> {
    if asked.head.method.is_safe() {
        return Some(asked.key.clone());
    }
    let location = parts.headers.get(header::CONTENT_LOCATION)?.to_str().ok()?;
    let own = asked.head.uri.path_and_query()?.as_str();
    let absolute = format!("{}://{}{own}", if asked.https { "https" } else { "http" }, asked.authority());
    (location == own || location == absolute).then(|| asked.key.clone())
}

/// Reads a body to its end, whether those who asked for it are still there or not.
async fn fill_up(store: Arc<Store>, key: Key, entry: Arc<Entry>, writing: Writing, mut body: Download) {
    let mut passing = false;
    loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                match writing.push(data).await {
                    Pushed::Kept => {}
                    Pushed::Unread => break,
                    Pushed::Passing if passing => {}
                    Pushed::Passing => {
                        passing = true;
                        store.settle(&key, &entry);
                        store.set_apart(&key);
                    }
                }
            }
            Some(Err(error)) => {
                tracing::info!(%error, %key, "an origin's answer broke off");
                drop(writing);
                break;
            }
            None => {
                writing.end();
                break;
            }
        }
    }
    store.settle(&key, &entry);
}

/// Forgets what a request has changed, by its answer. What that answer brings counts as asked for after the change: the moment is
/// returned, if anything was changed.
pub(super) async fn invalidate(front: &Front, asked: &Asked, response: &Response<Download>) -> Option<u64> {
    let authorities: Vec<&str> = front.origins.authorities().chain([asked.authority()]).collect();
    let answer = (response.status(), response.headers());
    let changed = invalidated(&asked.head.method, &asked.head.uri, answer, &authorities);
    for path in &changed {
        for scheme in ["http", "https"] {
            front.store.remove(&front.key(scheme, asked.authority(), path)).await;
        }
    }
    if !changed.is_empty() {
        for group in invalidated_groups(response.headers()) {
            let host = asked.authority().to_ascii_lowercase();
            front.store.invalidate(&Purge::Group { host, group }).await;
        }
    }
    (!changed.is_empty()).then(|| front.store.now())
}
