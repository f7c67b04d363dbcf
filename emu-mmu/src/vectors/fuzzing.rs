//! What must hold for any bytes at all in a vector file, for fuzz targets and tests.

use super::{Runner, Vector};

/// Reads each line and runs what is a vector.
///
/// # Panics
/// Never: any panic is a bug found.
pub fn check_vectors(bytes: &[u8]) {
    let Ok(mut runner) = Runner::new() else {
        return;
    };
    for line in bytes.split(|&b| b == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let Ok(vector) = Vector::parse(line) else {
            continue;
        };
        // An error or a failed vector is an answer.
        let _ = runner.run(&vector);
    }
}
