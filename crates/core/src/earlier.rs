//! Earlier versions of sites, of which what pages that are open still want is shown for a while.

use crate::block::Cid;

/// See the module.
pub trait Earlier: Send + Sync + 'static {
    /// The earlier versions of the site of a name (an IPNS key in base36), newest first, whole and held here.
    fn roots(&self, name: &str) -> Vec<Cid>;
}

/// Has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopEarlier;

impl Earlier for NoopEarlier {
    fn roots(&self, _name: &str) -> Vec<Cid> {
        Vec::new()
    }
}

/// Whether a file's name says what is in it, as build tools write it (`app.3f9a01bc.js`, `index-DkX3fz9q.css`): a part of eight
/// characters or more, between dots and hyphens, that is no word. Never HTML: a page that was taken away is gone.
pub fn is_hashed(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let html = ["html", "htm", "xhtml"].iter().any(|html| extension.eq_ignore_ascii_case(html));
    let is_hash = |part: &str| {
        let plain = part.len() >= 8 && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let letters = part.bytes().any(|byte| byte.is_ascii_alphabetic());
        let lower = part.bytes().any(|byte| byte.is_ascii_lowercase());
        let upper_inside = part.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
        plain && ((letters && digits > 0) || (lower && upper_inside))
    };
    !html && stem.split(['.', '-']).any(is_hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_build_tools_are_told_from_words() {
        for hashed in
            ["app.3f9a01bc.js", "index-DkX3fz9q.css", "main-ABQvTzeX.js", "3f9a01bc77d2.png", "a.b.0123abcd.chunk.js"]
        {
            assert!(is_hashed(hashed), "{hashed}");
        }
        for word in [
            "app.js",
            "stylesheet.css",
            "index.html",
            "page.3f9a01bc.html",
            "3f9a01bc",
            "20261128.json",
            "readme-introduction.txt",
            "Photograph.jpg",
            "a1b2.js",
        ] {
            assert!(!is_hashed(word), "{word}");
        }
    }
}
