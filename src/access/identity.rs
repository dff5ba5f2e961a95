//! Who somebody is, and what that bounds.

use std::{fmt::Write as _, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{
    Seal,
    role::{Need, Roles},
    token::Token,
};
use crate::{breaker::Timestamp, engine::Error};

/// What the identity of the administrators' token is called. No other identity may have this name.
pub const ADMIN_TOKEN: &str = "admin-token-file";

/// Who somebody is, by a token or a certificate.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name, in events, the audit trail and the log.
    pub name: Arc<str>,
    /// What it may do.
    pub roles: Roles,
    /// Only with keys that begin with one of these; empty: with all.
    pub prefixes: Vec<Box<str>>,
    /// Whom it may call itself; empty: anybody.
    pub caller: Box<str>,
    /// When it ends; [`Timestamp::NEVER`]: never.
    pub expires: Timestamp,
    /// Cancelled when it is nobody any more.
    pub ended: CancellationToken,
}

impl Identity {
    /// Whether both say the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.name, self.roles, &self.prefixes, &self.caller, self.expires)
            == (&other.name, other.roles, &other.prefixes, &other.caller, other.expires)
    }

    fn denied(&self, reason: &'static str, what: String, advice: impl Into<String>) -> Error {
        Error::Denied { reason, name: self.name.as_ref().to_owned(), what, advice: advice.into() }
    }

    fn is_inside(&self, start: &str) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| start.starts_with(&**prefix))
    }

    fn outside(&self, what: String) -> Error {
        let mut advice = "it is bounded to keys that begin with ".to_owned();
        for (index, prefix) in self.prefixes.iter().enumerate() {
            // Writing to a string cannot fail.
            _ = write!(advice, "{}{prefix}", if index > 0 { ", " } else { "" });
        }
        self.denied("OUTSIDE_PREFIXES", what, advice)
    }
}

impl From<&Token> for Identity {
    fn from(token: &Token) -> Self {
        Self {
            name: Arc::clone(&token.name),
            roles: token.roles,
            prefixes: token.prefixes.clone(),
            caller: token.caller.clone(),
            expires: token.expires,
            ended: CancellationToken::new(),
        }
    }
}

/// The caller that an identity is bound to, as permits carry it: a hash, which tells the callers of one server apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound(pub u32);

/// What a request may do.
#[derive(Clone, Debug)]
pub enum Grant {
    /// Everything: the server asks nobody who they are.
    Everything,
    /// What its identity may.
    Of(Arc<Identity>),
}

impl Grant {
    /// The identity behind it, if the server asks for one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Everything => None,
            Self::Of(identity) => Some(identity),
        }
    }

    /// Whether it may see what others use: operators, and everybody where nobody is asked who they are.
    #[must_use]
    pub fn sees_others(&self) -> bool {
        self.identity().is_none_or(|identity| identity.roles.meet(Need::Read) && identity.prefixes.is_empty())
    }

    /// Checks the role for a call.
    ///
    /// # Errors
    /// It has no role that is enough.
    pub fn check_role(&self, need: Need, method: &str) -> Result<(), Error> {
        match self.identity() {
            Some(identity) if !identity.roles.meet(need) => {
                Err(identity.denied("ROLE_MISSING", format!("call {method}"), need.advice()))
            }
            _ => Ok(()),
        }
    }

    /// Whether it may report, and so be known as a caller.
    #[must_use]
    pub fn may_report(&self) -> bool {
        self.identity().is_none_or(|identity| identity.roles.meet(Need::Report))
    }

    /// Whether a key is inside.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        self.identity().is_none_or(|identity| identity.is_inside(key))
    }

    /// Whether it is bounded to some keys.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        !self.prefixes().is_empty()
    }

    /// The prefixes it is bounded to; none where it is not.
    #[must_use]
    pub fn prefixes(&self) -> &[Box<str>] {
        self.identity().map_or(&[], |identity| &identity.prefixes)
    }

    /// Checks that a key, the start of keys or a pattern is inside.
    ///
    /// # Errors
    /// It is not, or matches keys that are not.
    pub fn check(&self, name: &str) -> Result<(), Error> {
        let literal = name.split('*').next().unwrap_or_default();
        match self.identity() {
            Some(identity) if !identity.is_inside(literal) => Err(identity.outside(format!("use {name:?}"))),
            _ => Ok(()),
        }
    }

    /// The caller that a request counts for, where it says that it is `said`, or says nothing.
    ///
    /// # Errors
    /// It may not call itself that.
    pub fn caller<'a>(&'a self, said: &'a str) -> Result<&'a str, Error> {
        let Some(identity) = self.identity().filter(|identity| !identity.caller.is_empty()) else { return Ok(said) };
        let bound = &*identity.caller;
        match said.strip_prefix(bound) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Ok(said),
            _ if said.is_empty() => Ok(bound),
            _ => Err(identity.denied(
                "CALLER_NOT_YOURS",
                format!("call itself {said:?}"),
                format!("it is {bound}, or {bound}/ and an instance"),
            )),
        }
    }

    /// The caller it is bound to; `None`: any.
    #[must_use]
    pub fn bound(&self, seal: &Seal) -> Option<Bound> {
        let identity = self.identity().filter(|identity| !identity.caller.is_empty())?;
        // The high half: the low one places callers in tables.
        Some(Bound((seal.name_hash(&identity.caller) >> 32) as u32))
    }

    /// Whether it is bound to a caller.
    #[must_use]
    pub fn has_caller(&self) -> bool {
        self.identity().is_some_and(|identity| !identity.caller.is_empty())
    }

    /// Checks that it may report a permit of a caller. `caller` is the caller's name, as long as that is known, and `issued` is
    /// what the identity that the permit was issued to is bound to, by the same seal.
    ///
    /// # Errors
    /// It may not call itself that.
    pub fn check_reporter(&self, seal: &Seal, caller: Option<&str>, issued: Option<Bound>) -> Result<(), Error> {
        if !self.has_caller() {
            return Ok(());
        }
        let is_own = match caller {
            Some(caller) => !caller.is_empty() && self.caller(caller).is_ok(),
            // Names are forgotten when there are too many of them, and what is under way goes on.
            None => issued.is_some() && issued == self.bound(seal),
        };
        match self.identity() {
            Some(identity) if !is_own => {
                let of = caller.unwrap_or("another caller");
                let advice = format!("its permits are those of {0}, or {0}/ and an instance", identity.caller);
                Err(identity.denied("CALLER_NOT_YOURS", format!("report a permit of {of:?}"), advice))
            }
            _ => Ok(()),
        }
    }

    /// Who did something, for people: the identity, and in brackets what the request said where that is something else.
    #[must_use]
    pub fn actor(&self, said: &str) -> String {
        match self.identity() {
            None => said.to_owned(),
            Some(identity) if said.is_empty() || said == &*identity.name => identity.name.as_ref().to_owned(),
            Some(identity) => format!("{} ({said})", identity.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(prefixes: &[&str], caller: &str) -> Grant {
        Grant::Of(Arc::new(Identity {
            name: "shop".into(),
            roles: Roles::default(),
            prefixes: prefixes.iter().map(|prefix| (*prefix).into()).collect(),
            caller: caller.into(),
            expires: Timestamp::NEVER,
            ended: CancellationToken::new(),
        }))
    }

    #[test]
    fn a_prefix_bounds_keys_starts_of_keys_and_patterns() {
        let bounded = grant(&["payments/", "db"], "");
        for inside in ["payments/charge", "payments/", "payments/*", "db", "db2", "db*"] {
            assert!(bounded.check(inside).is_ok(), "{inside}");
        }
        for outside in ["", "*", "pay", "payments", "payments*", "p*/charge", "*db", "cache"] {
            assert!(bounded.check(outside).is_err(), "{outside}");
            assert!(grant(&[], "").check(outside).is_ok());
            assert!(Grant::Everything.check(outside).is_ok());
        }
    }

    #[test]
    fn a_bounded_caller_is_itself_or_an_instance_of_itself() {
        let bounded = grant(&[], "shop");
        assert_eq!(bounded.caller("").unwrap(), "shop");
        assert_eq!(bounded.caller("shop").unwrap(), "shop");
        assert_eq!(bounded.caller("shop/7").unwrap(), "shop/7");
        for strange in ["sho", "shopper", "shopper/7", "cart", "/shop"] {
            assert!(bounded.caller(strange).is_err(), "{strange}");
            assert_eq!(grant(&[], "").caller(strange).unwrap(), strange);
        }
    }

    #[test]
    fn a_bounded_reporter_reports_permits_of_its_own_callers() {
        let seal = &Seal::of(b"of the unit test");
        let (shop, cart) = (grant(&[], "shop"), grant(&[], "cart"));
        for own in ["shop", "shop/7"] {
            assert!(shop.check_reporter(seal, Some(own), cart.bound(seal)).is_ok(), "{own}");
        }
        for strange in ["", "cart", "cart/1", "shopper"] {
            assert!(shop.check_reporter(seal, Some(strange), shop.bound(seal)).is_err(), "{strange}");
            assert!(grant(&[], "").check_reporter(seal, Some(strange), shop.bound(seal)).is_ok());
            assert!(Grant::Everything.check_reporter(seal, Some(strange), shop.bound(seal)).is_ok());
        }
        assert!(shop.check_reporter(seal, None, shop.bound(seal)).is_ok(), "its name is forgotten, and it is its own");
        assert!(shop.check_reporter(seal, None, cart.bound(seal)).is_err());
        assert!(shop.check_reporter(seal, None, None).is_err());
    }

    #[test]
    fn who_did_it_is_who_it_is_and_not_who_it_says() {
        assert_eq!(grant(&[], "").actor(""), "shop");
        assert_eq!(grant(&[], "").actor("shop"), "shop");
        assert_eq!(grant(&[], "").actor("root"), "shop (root)");
        assert_eq!(Grant::Everything.actor("root"), "root");
    }
}
