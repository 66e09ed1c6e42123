//! What the list of threats asks for, sections 1.1 (track), 1.2 (render), 1.3 (check) and 1.4 (seal and verify): `README.md`
//! names for each row the tests that answer for it, wherever they stand, and `table.rs` holds the list to its word. Tests that
//! belong to no single part stand here.

mod crypto;
mod hub;
mod parsers;
mod projects;
mod table;
