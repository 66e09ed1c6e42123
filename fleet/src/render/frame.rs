//! Frames over the socket pair: a varint length, then one protobuf message.
use std::io;

use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use countersign_proto::limits::RENDERER_FRAME_BYTES_MAX;

/// Why no frame came or went.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed its end, or the socket failed: the process is gone or going.
    #[error("the worker is gone: {0}")]
    Gone(#[from] io::Error),
    /// What came is no frame of this protocol.
    #[error("the worker broke the protocol: {0}")]
    Protocol(&'static str),
}

/// Writes one message.
///
/// # Cancel safety
/// None: a dropped write leaves half a frame. The caller kills the process then.
pub(super) async fn write(
    stream: &mut UnixStream,
    message: &impl Message,
) -> Result<(), FrameError> {
    if message.encoded_len() > RENDERER_FRAME_BYTES_MAX {
        return Err(FrameError::Protocol("a message is too large for a frame"));
    }
    stream
        .write_all(&message.encode_length_delimited_to_vec())
        .await?;
    Ok(())
}

/// Reads one message.
///
/// # Errors
/// [`FrameError`]
/// # Cancel safety
/// None: a dropped read loses bytes. The caller kills the process then.
pub async fn read<M: Message + Default>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<M, FrameError> {
    let mut length: u64 = 0;
    for shift in (0..).step_by(7) {
        if shift > 28 {
            return Err(FrameError::Protocol("a length has too many bytes"));
        }
        let byte = stream.read_u8().await?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= RENDERER_FRAME_BYTES_MAX)
        .ok_or(FrameError::Protocol("a frame is too long"))?;
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    M::decode(bytes.as_slice()).map_err(|_| FrameError::Protocol("a frame holds no message"))
}

#[cfg(test)]
mod tests {
    use countersign_proto::renderer::v1 as pb;

    use super::*;

    async fn read_bytes(bytes: &[u8]) -> Result<pb::Hello, FrameError> {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        far.write_all(bytes).await.unwrap();
        drop(far);
        read(&mut near).await
    }

    #[tokio::test]
    async fn a_message_survives_its_frame() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let hello = pb::Hello {
            version: "x".repeat(300),
        };
        write(&mut far, &hello).await.unwrap();
        assert_eq!(read::<pb::Hello>(&mut near).await.unwrap(), hello);
    }

    #[tokio::test]
    async fn garbage_is_refused_by_kind() {
        assert!(matches!(read_bytes(b"").await, Err(FrameError::Gone(_))));
        assert!(matches!(
            read_bytes(b"\x05ab").await,
            Err(FrameError::Gone(_))
        ));
        assert!(matches!(
            read_bytes(&[0xff; 10]).await,
            Err(FrameError::Protocol(_))
        ));
        assert!(matches!(
            read_bytes(b"\xff\xff\xff\x7f").await,
            Err(FrameError::Protocol(_))
        ));
        assert!(matches!(
            read_bytes(b"\x02\xff\xff").await,
            Err(FrameError::Protocol(_))
        ));
    }
}
