//! The policies of the configuration file.

use crate::breaker::PolicySpec;

/// The policies of a configuration file, each valid.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct PolicyFile {
    /// `[default_policy]`: laid over the built-in policy, field by field.
    pub default: PolicySpec,
    /// Each `[[policy]]` in the order of the file: its key or pattern, which is there once, and its fields.
    pub by_pattern: Vec<(String, PolicySpec)>,
}
