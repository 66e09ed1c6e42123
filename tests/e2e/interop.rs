//! Logs of ours before Go's readers, logs of theirs before ours, damaged logs before both, and a differential run: on
//! random inputs Go's code and ours take and refuse the same, but for differences that are written down here.

mod cases;
mod differential;
mod logs;
mod oracle;
