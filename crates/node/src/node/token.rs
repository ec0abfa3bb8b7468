//! The token of the admin API: a file of the node's folder. Lost, it is made anew.

use super::NodeError;
use crate::config::Folder;
use crate::keys;

/// The token of the admin API, made on first start.
pub(crate) fn open_token(folder: &Folder) -> Result<String, NodeError> {
    let path = folder.token();
    let in_file = |error| NodeError::Folder(path.clone(), error);
    match keys::read_small(&path) {
        Ok(token) => Ok(token.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(|_| NodeError::Randomness)?;
            let token = data_encoding::HEXLOWER.encode(&bytes);
            keys::write_private(&path, token.as_bytes()).map_err(in_file)?;
            Ok(token)
        }
        Err(error) => Err(in_file(error)),
    }
}
