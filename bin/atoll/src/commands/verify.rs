//! `atoll verify`: one answer, checked by nothing but what it says and what the site's blocks say.

mod fetch;
mod proof;
mod site;
mod spool;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use atoll_core::SystemClock;
use atoll_core::bundle::BundleId;
use atoll_core::id::NodeId;
use atoll_core::signed::{self, Checked, NO_NONCE, Unsound, parse_hex};
use serde::Serialize;

use crate::args::VerifyArgs;
use crate::output::Output;
use fetch::{Fetched, Url};

/// How unsigned answers are told from bad ones.
const UNSIGNED: u8 = 3;

/// What is to be said of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Ok,
    Bad,
    Unsigned,
}

/// All that was found out.
#[derive(Debug, Serialize)]
struct Report {
    verdict: Verdict,
    /// What makes it bad or unsigned.
    why: Option<String>,
    url: String,
    status: u16,
    /// The node that signed.
    signer: Option<String>,
    bundle: Option<String>,
    key: Option<String>,
    /// When it was signed, and until when it counts, in seconds since the Unix epoch.
    created: Option<u64>,
    expires: Option<u64>,
    /// Whether it was signed for this request alone.
    fresh: bool,
    /// The site's root, if the answer was compared with the site's own blocks.
    root: Option<String>,
    /// Why it was not.
    unchecked: Option<String>,
}

pub(crate) async fn run(args: VerifyArgs, output: &Output) -> Result<ExitCode> {
    let url = Url::parse(&args.url)?;
    let signer = args.signer.as_deref().map(str::parse::<NodeId>).transpose()?;
    let bundle = args
        .bundle
        .as_deref()
        .map(|text| parse_hex(text).map(BundleId).context("--bundle is `0x` and 64 hexadecimal digits"));
    let bundle = bundle.transpose()?;
    let limit = Duration::from_secs(args.timeout);
    let nonce = if args.reused { None } else { Some(fetch::nonce()?) };
    let fetched = tokio::time::timeout(limit, fetch::get(&url, nonce.as_ref()));
    let fetched = fetched.await.context("the answer did not come in time")??;
    let mut report = Report::of(&args.url, &fetched);
    match check(&url, &fetched, nonce.unwrap_or(NO_NONCE), signer) {
        Ok(checked) => {
            report.take(&checked);
            if args.quick {
                report.unchecked = Some("not asked for (--quick)".to_owned());
            } else {
                let comparing = async {
                    match bundle {
                        Some(bundle) => proof::compare(&url, &fetched, &checked, bundle).await,
                        None => site::compare(&url, &fetched, &checked).await,
                    }
                };
                let late = |_| site::Compared::Unchecked("the site did not come in time".into());
                report.compared(tokio::time::timeout(limit, comparing).await.unwrap_or_else(late));
            }
        }
        Err(wrong) => wrong.tell(&mut report),
    }
    output.result(&report, || describe(&report))?;
    Ok(match report.verdict {
        Verdict::Ok => ExitCode::SUCCESS,
        Verdict::Bad => ExitCode::FAILURE,
        Verdict::Unsigned => ExitCode::from(UNSIGNED),
    })
}

/// Why an answer is not ok.
enum Wrong {
    Unsound(Unsound),
    /// What is signed is another thing than what came.
    Bad(String),
}

/// The signature, and the body.
fn check(url: &Url, fetched: &Fetched, nonce: [u8; 32], signer: Option<NodeId>) -> Result<Checked, Wrong> {
    let field = |name: &str| fetched.field(name);
    let now = SystemClock::now().as_secs();
    let checked = signed::check(fetched.status, &url.signed_authority(), &field, now).map_err(Wrong::Unsound)?;
    if checked.digest != fetched.digest {
        return Err(Wrong::Bad("the body is not the one that was signed".to_owned()));
    }
    if checked.nonce != NO_NONCE && checked.nonce != nonce {
        return Err(Wrong::Bad("it was signed over another nonce than was sent".to_owned()));
    }
    match signer {
        Some(signer) if signer != checked.node => Err(Wrong::Bad(format!("it was signed by {}", checked.node))),
        _ => Ok(checked),
    }
}

impl Wrong {
    fn tell(self, report: &mut Report) {
        let (verdict, why) = match self {
            Self::Unsound(why @ (Unsound::Unsigned | Unsound::Expired(_) | Unsound::Early(_))) => {
                (Verdict::Unsigned, why.to_string())
            }
            Self::Unsound(why) => (Verdict::Bad, why.to_string()),
            Self::Bad(why) => (Verdict::Bad, why),
        };
        (report.verdict, report.why) = (verdict, Some(why));
    }
}

impl Report {
    fn of(url: &str, fetched: &Fetched) -> Self {
        Self {
            verdict: Verdict::Ok,
            why: None,
            url: url.to_owned(),
            status: fetched.status,
            signer: None,
            bundle: None,
            key: None,
            created: None,
            expires: None,
            fresh: false,
            root: None,
            unchecked: None,
        }
    }

    fn take(&mut self, checked: &Checked) {
        self.signer = Some(checked.node.to_string());
        self.bundle = Some(checked.bundle.to_string());
        self.key = Some(checked.key.clone());
        (self.created, self.expires) = (Some(checked.created), Some(checked.expires));
        self.fresh = checked.nonce != NO_NONCE;
    }

    fn compared(&mut self, compared: site::Compared) {
        match compared {
            site::Compared::Same(root) => self.root = Some(root.to_string()),
            site::Compared::Differs(why) => (self.verdict, self.why) = (Verdict::Bad, Some(why)),
            site::Compared::Unchecked(why) => self.unchecked = Some(why),
        }
    }
}

fn describe(report: &Report) -> String {
    let (word, why) = match report.verdict {
        Verdict::Ok => ("ok", String::new()),
        Verdict::Bad => ("bad", report.why.as_ref().map_or_else(String::new, |why| format!(": {why}"))),
        Verdict::Unsigned => ("unsigned", report.why.as_ref().map_or_else(String::new, |why| format!(": {why}"))),
    };
    let mut lines = vec![format!("{word}{why}"), format!("status {}", report.status)];
    let fields = [("signer", &report.signer), ("bundle", &report.bundle), ("key", &report.key), ("root", &report.root)];
    lines.extend(fields.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}"))));
    if report.signer.is_some() {
        let fresh = if report.fresh { "for this request" } else { "for everybody, for some minutes" };
        lines.push(format!("signed {fresh}"));
    }
    if let Some(why) = &report.unchecked {
        lines.push(format!("not compared with the site's own blocks: {why}"));
    }
    lines.join("\n")
}
