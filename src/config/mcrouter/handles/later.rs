//! Types of handles that mcrouter has and this release has not.
//!
//! A type that is here is refused by name; one that is neither here nor in a family does not exist.

/// To come.
pub(in super::super) const TYPES: &[&str] = &[
    "BlackholeRoute",
    "L1L2CacheRoute",
    "L1L2SizeSplitRoute",
    "MigrateRoute",
    "OriginalClientHashRoute",
    "OutstandingLimitRoute",
    "StagingRoute",
];

/// These need services that are not public.
pub(super) const ONLY_WITH_SERVICES: &[&str] = &[
    "CarbonLookasideRoute",
    "DistributionRoute",
    "SetDistributionTargetRoute",
    "SRRoute",
];
