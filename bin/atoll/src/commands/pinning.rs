//! `atoll pinning`: tokens of publishers, through the running node.

use anyhow::Result;
use atoll_node::api::{TokenMade, TokenRequest, TokenRevoke, TokenRevoked};
use atoll_pinning::PublisherView;
use http::Method;

use crate::args::{PinningCommand, TokenCommand};
use crate::control::Control;
use crate::output::{Output, bytes, plural, table};

/// The path of tokens on the node's socket.
const TOKENS: &str = "/v1/pinning/tokens";

pub(crate) async fn run(command: PinningCommand, control: &Control, output: &Output) -> Result<()> {
    let PinningCommand::Token(command) = command;
    match command {
        TokenCommand::Add { name, quota, allow } => {
            let body = serde_json::to_vec(&TokenRequest { name, quota, allow })?;
            let made: TokenMade = control.call(Method::POST, TOKENS, body.into()).await?;
            output.note("this token is not shown again:");
            output.result(&made, || made.token.clone())?;
            let url = made.urls.first().map_or("URL", String::as_str);
            output.note(&format!("ipfs pin remote service add atoll {url} TOKEN"));
        }
        TokenCommand::List => {
            let all: Vec<PublisherView> = control.get(TOKENS).await?;
            let row = |view: &PublisherView| {
                let state = if view.live { "live" } else { "revoked" };
                let allow = match view.allow.as_slice() {
                    [one] => one.clone(),
                    many => plural(many.len(), "root"),
                };
                let (used, quota) = (bytes(view.used), bytes(view.quota));
                vec![view.name.clone(), state.to_owned(), used, quota, view.requests.to_string(), allow]
            };
            let rows: Vec<_> = all.iter().map(row).collect();
            output.result(&all, || table(&["PUBLISHER", "TOKEN", "USED", "QUOTA", "REQUESTS", "MAY PIN"], &rows))?;
        }
        TokenCommand::Revoke { name, pins } => {
            let body = serde_json::to_vec(&TokenRevoke { name, pins })?;
            let revoked: TokenRevoked = control.call(Method::DELETE, TOKENS, body.into()).await?;
            output.result(&revoked, || format!("revoked; {} let go", plural(revoked.released, "pin")))?;
        }
    }
    Ok(())
}
