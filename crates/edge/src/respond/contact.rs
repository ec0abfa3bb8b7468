//! Where to report abuse, as error pages say it. Pure; a crash loses nothing.

use http::{HeaderMap, HeaderValue, header};

/// The longest address, in bytes.
pub(crate) const CONTACT_BYTES_MAX: usize = 200;

/// The operator's address for reports of abuse.
pub(crate) struct Contact {
    /// The address as the operator wrote it: no character in it has a meaning in HTML.
    text: String,
    /// What a link to it holds.
    href: String,
    /// `Link` of those who implement a block for legal reasons (RFC 7725, section 4).
    blocked_by: Option<HeaderValue>,
}

impl Contact {
    /// The contact that is set; `None` for an empty setting, or for one that [`is_contact`] is not true of.
    pub(crate) fn of(setting: &str) -> Option<Self> {
        if !is_contact(setting) {
            return None;
        }
        let href = if is_url(setting) { setting.to_owned() } else { format!("mailto:{setting}") };
        let blocked_by = HeaderValue::try_from(format!("<{href}>; rel=\"blocked-by\"")).ok();
        Some(Self { text: setting.to_owned(), href, blocked_by })
    }

    /// A sentence for a page, or for a text.
    pub(crate) fn sentence(&self, html: bool) -> String {
        let Self { text, href, .. } = self;
        if html {
            format!("<p>Questions and reports of abuse: <a href=\"{href}\" rel=\"nofollow\">{text}</a></p>\n")
        } else {
            format!("Questions and reports of abuse: {text}\n")
        }
    }

    /// Says who blocks.
    pub(crate) fn set_blocked_by(&self, headers: &mut HeaderMap) {
        if let Some(link) = &self.blocked_by {
            headers.insert(header::LINK, link.clone());
        }
    }
}

/// Whether a text is an e-mail address or an `https` or `http` URL, of characters that need no escape anywhere.
pub(crate) fn is_contact(text: &str) -> bool {
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"@.-_~:/?=%+#".contains(&byte);
    let mail =
        text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'));
    text.len() <= CONTACT_BYTES_MAX && text.bytes().all(byte) && (is_url(text) || (mail && !text.contains('/')))
}

fn is_url(text: &str) -> bool {
    text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).is_some_and(|rest| rest.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_an_address_or_a_url() {
        for text in
            ["abuse@example.com", "a+b@sub.example.com", "https://example.com/abuse?x=1#y", "http://example.com"]
        {
            assert!(Contact::of(text).is_some(), "{text}");
        }
        for text in [
            "",
            "abuse",
            "a@b",
            "@example.com",
            "javascript:x.y",
            "https://",
            "a@example.com\"><b>",
            "a@b.c@d.e",
            &"a".repeat(300),
        ] {
            assert!(Contact::of(text).is_none(), "{text}");
        }
        let contact = Contact::of("abuse@example.com").unwrap();
        assert!(contact.sentence(true).contains("<a href=\"mailto:abuse@example.com\""));
        let mut headers = HeaderMap::new();
        contact.set_blocked_by(&mut headers);
        assert_eq!(headers[header::LINK], "<mailto:abuse@example.com>; rel=\"blocked-by\"");
    }
}
