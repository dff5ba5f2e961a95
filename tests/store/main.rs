//! Every home of breakers against one contract: that of `fuseboard::store`.

mod contract;
mod disk;
mod encoding;
mod faults;
mod faulty;
mod figures;
mod home;
mod model;
mod samples;
