//! Choosing among rows: what is new beside better rows, clusters, and rows that stand for all.
//!
//! Everything here is deterministic: the same vectors give the same choice, whatever the number of
//! threads, and ties go to the row that comes first.

mod facility;
mod kmeans;
mod novelty;
mod vectors;

pub use facility::{Facility, Metric, Pick, facility_location};
pub use kmeans::{Clusters, KMeans, kmeans};
pub use novelty::{Novelty, novel_tags, novel_vectors};
pub use vectors::{NotVectors, Vectors};

use rayon::ThreadPoolBuilder;

/// Runs `work` on so many threads (0: all cores).
///
/// # Errors
/// If threads cannot be started; in words.
pub fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    Ok(pool.map_err(|error| error.to_string())?.install(work))
}
