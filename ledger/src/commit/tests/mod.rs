//! The judge on small repositories, built here object by object.

mod forge;
mod kinds;
mod openpgp;
mod random;
mod repo;
mod walk;

use repo::{Key, NOW, Repo, files, person};
