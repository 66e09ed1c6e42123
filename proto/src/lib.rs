//! The wire: gRPC messages and services, generated from the `.proto` files beside this crate's `src/`.
//!
//! Types here are transport. What they carry proves nothing until `countersign-ledger` has verified it; each crate
//! turns them into its own types in a module named `wire`.
#![forbid(unsafe_code)]

pub mod limits;
pub mod parcel;

/// Between an agent and its hub.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod agent {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("countersign.agent.v1");
    }
}

/// Between an agent and its hub, by files.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod courier {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("countersign.courier.v1");
    }
}

/// Between the hub (or the CLI) and a renderer worker.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod renderer {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("countersign.renderer.v1");
    }
}

/// Encoded `FileDescriptorSet` of all files, for gRPC reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
