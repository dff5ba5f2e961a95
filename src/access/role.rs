//! Roles, and what each call needs.

use serde::{Deserialize, Serialize};

/// What somebody may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// What a service needs: ask, report, declare, and look at breakers by name.
    Report,
    /// Look at everything.
    Read,
    /// Look, and change breakers, overrides and policies.
    Operate,
    /// Everything, tokens and the audit trail too.
    Admin,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Report, Self::Read, Self::Operate, Self::Admin];

    /// Its name, as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Roles(u8);

impl Roles {
    /// Whether a role is in it.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// The roles in it.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    /// Whether they are enough for a call.
    #[must_use]
    pub const fn meet(self, need: Need) -> bool {
        let enough = match need {
            Need::Nothing => return true,
            Need::Report => Role::Report.bit(),
            Need::Look => Role::Report.bit() | Role::Read.bit() | Role::Operate.bit(),
            Need::Read => Role::Read.bit() | Role::Operate.bit(),
            Need::Operate => Role::Operate.bit(),
            Need::Admin => 0,
        };
        self.0 & (enough | Role::Admin.bit()) != 0
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | role.bit()))
    }
}

/// What a call needs of whoever makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Nobody is asked who they are.
    Nothing,
    /// The role `report`.
    Report,
    /// Any role.
    Look,
    /// The role `read` or `operate`.
    Read,
    /// The role `operate`.
    Operate,
    /// The role `admin`, which is enough for all others too.
    Admin,
}

impl Need {
    /// What is missing, for people.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Nothing | Self::Look => "it needs a role",
            Self::Report => "it needs the role report",
            Self::Read => "it needs the role read or operate",
            Self::Operate => "it needs the role operate",
            Self::Admin => "it needs the role admin",
        }
    }
}

/// What a method needs, by its path `package.Service/Method`. One that is not known here is the administrators'.
#[must_use]
pub fn need(method: &str) -> Need {
    let (service, method) = method.split_once('/').unwrap_or((method, ""));
    match (service, method) {
        // These go first, as they are the hottest.
        ("fuseboard.v1.BreakerService", "Acquire" | "Report" | "Session" | "ReportBatch" | "Declare") => Need::Report,
        ("fuseboard.v1.BreakerService", "WatchEvents" | "GetState") => Need::Look,
        ("fuseboard.v1.BreakerService", "Reset") => Need::Operate,
        ("fuseboard.v1.AdminService", "GetIdentity") => Need::Look,
        (
            "fuseboard.v1.AdminService",
            "ListBreakers" | "ListPolicies" | "GetPolicy" | "ListEvents" | "GetServerInfo" | "ListWebhooks",
        ) => Need::Read,
        (
            "fuseboard.v1.AdminService",
            "SetPolicy" | "DeletePolicy" | "SetOverride" | "ClearOverride" | "ProbeNow" | "DeleteDeclaration"
            | "DeleteBreaker" | "TestWebhook",
        ) => Need::Operate,
        (
            "grpc.health.v1.Health"
            | "grpc.reflection.v1.ServerReflection"
            | "grpc.reflection.v1alpha.ServerReflection",
            _,
        ) => Need::Nothing,
        _ => Need::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_is_enough_for_what_is_its_own() {
        let needs = [Need::Nothing, Need::Report, Need::Look, Need::Read, Need::Operate, Need::Admin];
        let met = |role| needs.map(|need| Roles::from_iter([role]).meet(need));
        assert_eq!(met(Role::Report), [true, true, true, false, false, false]);
        assert_eq!(met(Role::Read), [true, false, true, true, false, false]);
        assert_eq!(met(Role::Operate), [true, false, true, true, true, false]);
        assert_eq!(met(Role::Admin), [true; 6]);
        assert_eq!(needs.map(|need| Roles::default().meet(need)), [true, false, false, false, false, false]);
    }

    #[test]
    fn what_is_not_known_is_the_administrators() {
        for method in ["", "fuseboard.v1.AdminService/Unheard", "fuseboard.v2.BreakerService/Acquire", "Acquire"] {
            assert_eq!(need(method), Need::Admin, "{method}");
        }
    }
}
