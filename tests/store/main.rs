//! Every home of breakers against one contract: that of `fuseboard::store`.

mod encoding;
mod samples;
