//! Sources over the real protocols, from stand-ins of a Helm repository and a registry on loopback.
use std::io::Write as _;

/// A chart's archive of these files.
pub(crate) fn chart(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        builder
            .append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut packed = packed;
    packed.write_all(&builder.into_inner().unwrap()).unwrap();
    packed.finish().unwrap()
}
