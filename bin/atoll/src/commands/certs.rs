//! `atoll certs`.

use anyhow::Result;
use atoll_node::api::{RevokeRequest, Revoked};
use http::Method;

use crate::args::CertsCommand;
use crate::control::Control;
use crate::output::Output;

pub(crate) async fn run(command: CertsCommand, control: &Control, output: &Output) -> Result<()> {
    let CertsCommand::Revoke { name, reason, not_again } = command;
    let body = serde_json::to_vec(&RevokeRequest { name, reason, again: !not_again })?.into();
    let revoked: Revoked = control.call(Method::POST, "/v1/certs/revoke", body).await?;
    let then = match (revoked.issued, not_again) {
        (true, _) => "another one serves",
        (false, true) => "the name has none now",
        (false, false) => {
            "no authority gives another one yet; it is asked for again, and until then the old one serves"
        }
    };
    Ok(output.result(&revoked, || format!("revoked the certificate of {}: {then}", revoked.name))?)
}
