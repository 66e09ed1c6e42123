//! Which parcel leads on from where the agent stands. Pure but for the parcels' blobs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_proto::agent::v1 as proto;
use tokio::sync::watch;

use super::parcel::{Parcel, Unusable};

/// A parcel that was opened so often and brought the agent no further was refused: it is set aside.
const TRIES_MAX: u32 = 3;

/// Tells a person: a code, the file, why.
pub(super) type Tell = Box<dyn Fn(&'static str, &str, &str) + Send + Sync>;

/// The parcels that lie there.
pub(super) struct Desk {
    fleet: String,
    cluster: String,
    tell: Tell,
    parcels: Mutex<Parcels>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Parcels {
    by_path: BTreeMap<PathBuf, Lying>,
    /// Generation and size of the log at the last time that heads were asked for.
    at: (u64, u64),
}

struct Lying {
    parcel: Arc<Parcel>,
    tries: u32,
}

impl Desk {
    pub(super) fn new(fleet: &str, cluster: &str, tell: Tell) -> Self {
        Self {
            fleet: fleet.to_owned(),
            cluster: cluster.to_owned(),
            tell,
            parcels: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// A file came or was written anew; one that is of no use is told of.
    pub(super) fn put(&self, path: PathBuf, read: Result<Parcel, Unusable>) {
        let name = path.display().to_string();
        let parcel = match read {
            Ok(parcel) => parcel,
            Err(error) => {
                self.parcels().by_path.remove(&path);
                return (self.tell)("PARCEL_UNUSABLE", &name, &error.to_string());
            }
        };
        let (fleet, cluster) = (&parcel.header.fleet, &parcel.header.cluster);
        if *fleet != self.fleet || *cluster != self.cluster {
            let text = format!("is for cluster {cluster:?} of fleet {fleet:?}");
            return (self.tell)("PARCEL_OF_ANOTHER", &name, &text);
        }
        tracing::info!(
            file = name,
            generation = parcel.header.generation,
            entries = parcel.header.tree_size,
            "a parcel came"
        );
        let parcel = Arc::new(parcel);
        self.parcels()
            .by_path
            .insert(path, Lying { parcel, tries: 0 });
        self.changes.send_modify(|count| *count += 1);
    }

    /// A file is gone.
    pub(super) fn take_away(&self, keep: &[PathBuf]) {
        self.parcels().by_path.retain(|path, _| keep.contains(path));
    }

    /// Changes with each parcel that comes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The trust roots of the parcel that is opened next.
    pub(super) fn trust_roots(&self) -> Vec<bytes::Bytes> {
        let mut parcels = self.parcels();
        let at = parcels.at;
        let newer = |parcel: &Parcel| parcel.is_newer(at.0, at.1);
        let any = parcels.newest(newer).is_none();
        let found = parcels.newest(|parcel| any || newer(parcel));
        let roots = found.map(|lying| {
            // Roots that are refused end the connection before heads are asked for.
            lying.tries += 1;
            lying.parcel.trust_roots()
        });
        roots.unwrap_or_default()
    }

    /// The newest parcel that leads on from here, and its heads.
    pub(super) fn open(&self, generation: u64, tree_size: u64) -> Option<Vec<proto::Head>> {
        let mut parcels = self.parcels();
        if parcels.at != (generation, tree_size) {
            // It was taken: what was set aside may fit now.
            parcels.at = (generation, tree_size);
            parcels
                .by_path
                .values_mut()
                .for_each(|lying| lying.tries = 0);
        }
        let newer = |parcel: &Parcel| parcel.is_newer(generation, tree_size);
        let mut unfit = Vec::new();
        for (path, lying) in parcels.newest_first(newer) {
            match lying.parcel.heads(generation, tree_size) {
                Some(heads) => return Some(heads),
                None => unfit.push(path.display().to_string()),
            }
        }
        // What is newer and does not fit needs a person.
        drop(parcels);
        for file in unfit {
            let text = format!(
                "does not lead on from generation {generation} and {tree_size} entries of the log; export again with --since and this agent's newest report"
            );
            (self.tell)("PARCEL_DOES_NOT_FIT", &file, &text);
        }
        None
    }

    /// All parcels, the newest first.
    pub(super) fn all(&self) -> Vec<Arc<Parcel>> {
        let parcels = self.parcels();
        let mut all: Vec<Arc<Parcel>> = parcels
            .by_path
            .values()
            .map(|lying| Arc::clone(&lying.parcel))
            .collect();
        all.sort_by_key(|parcel| std::cmp::Reverse(order(parcel)));
        all
    }

    fn parcels(&self) -> MutexGuard<'_, Parcels> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parcels {
    /// Those that are wanted and not set aside.
    fn newest_first(&self, wanted: impl Fn(&Parcel) -> bool) -> Vec<(&PathBuf, &Lying)> {
        let all = self.by_path.iter();
        let mut found: Vec<_> = all
            .filter(|(_, lying)| lying.tries < TRIES_MAX && wanted(&lying.parcel))
            .collect();
        found.sort_by_key(|(_, lying)| std::cmp::Reverse(order(&lying.parcel)));
        found
    }

    fn newest(&mut self, wanted: impl Fn(&Parcel) -> bool) -> Option<&mut Lying> {
        self.by_path
            .values_mut()
            .filter(|lying| lying.tries < TRIES_MAX && wanted(&lying.parcel))
            .max_by_key(|lying| order(&lying.parcel))
    }
}

fn order(parcel: &Parcel) -> (u64, u64) {
    (parcel.header.generation, parcel.header.tree_size)
}
