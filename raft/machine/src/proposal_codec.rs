//! Proposals as bytes, as they stand in the log and cross the mesh. What keeps or carries them adds the checksum.

use jarvis_types::codec::{self, CodecError};
use jarvis_types::limits::MAX_COMMAND_BYTES;

use crate::command::{PROPOSAL_VERSION, Proposal};

/// Why a proposal does not become bytes, or bytes a proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// Too large for the log.
    #[error("the proposal has {len} bytes, more than {max}")]
    TooLarge {
        /// Its size.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A later build wrote it.
    #[error("the command is of level {needs}, and this node speaks level {speaks}")]
    Newer {
        /// The command's level.
        needs: u32,
        /// This node's.
        speaks: u32,
    },
    /// The bytes are none, or a newer version wrote them.
    #[error("not a proposal")]
    Codec(#[from] CodecError),
}

impl Proposal {
    /// Version byte and body.
    ///
    /// # Errors
    /// [`ProposalError::TooLarge`] above [`MAX_COMMAND_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, ProposalError> {
        let bytes = codec::encode(PROPOSAL_VERSION, self)?;
        check_size(bytes.len())?;
        Ok(bytes)
    }

    /// The proposal in `bytes` for a node that speaks `speaks`, which takes no command of a later level.
    ///
    /// # Errors
    /// [`ProposalError`].
    pub fn decode_at(speaks: u32, bytes: &[u8]) -> Result<Self, ProposalError> {
        let proposal = Self::decode(bytes)?;
        let needs = proposal.command.level();
        if needs > speaks {
            return Err(ProposalError::Newer { needs, speaks });
        }
        Ok(proposal)
    }

    /// The proposal in `bytes`, which may come from anywhere.
    ///
    /// # Errors
    /// [`ProposalError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProposalError> {
        check_size(bytes.len())?;
        Ok(codec::decode(PROPOSAL_VERSION, bytes)?)
    }
}

fn check_size(len: usize) -> Result<(), ProposalError> {
    if len > MAX_COMMAND_BYTES {
        Err(ProposalError::TooLarge {
            len,
            max: MAX_COMMAND_BYTES,
        })
    } else {
        Ok(())
    }
}
