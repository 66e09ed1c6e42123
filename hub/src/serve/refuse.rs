//! How calls end that do not succeed: a gRPC status with a stable code beside the text.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Trailer that bears the stable code.
pub const CODE_HEADER: &str = "countersign-code";

/// A refusal: asking again gives the same.
pub fn refuse(kind: Code, code: &'static str, message: impl Into<String>) -> Status {
    let mut status = Status::new(kind, message);
    status
        .metadata_mut()
        .insert(CODE_HEADER, MetadataValue::from_static(code));
    status
}

/// A fault: asking again may help. The text goes to the log, not to the caller.
pub fn fault(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(%error, "a call failed");
    refuse(
        Code::Unavailable,
        "FAULT",
        "the hub can't answer now; ask again",
    )
}
