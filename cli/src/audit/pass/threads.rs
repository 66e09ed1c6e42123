//! One kind of work on some threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Does the same with each of `items`, on some threads, and gives the answers in their order.
pub(super) fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if threads < 2 || items.len() < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let step = (items.len() / (threads * 8)).max(1);
    let mut parts: Vec<(usize, Vec<R>)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.min(items.len()))
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let from = next.fetch_add(step, Ordering::Relaxed);
                        let Some(part) = items.get(from..items.len().min(from + step)) else {
                            return done;
                        };
                        if part.is_empty() {
                            return done;
                        }
                        done.push((from, part.iter().map(&work).collect()));
                    }
                })
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| match handle.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    parts.sort_by_key(|(from, _)| *from);
    parts.into_iter().flat_map(|(_, part)| part).collect()
}
