//! What mcrouter puts around the servers of a PoolRoute, and in which order.
//!
//! From the outside: its log of deletions (asynclog), shards, rates, the hash, and around each server shadows, a slow warm-up,
//! a limit. Here the log belongs to the pool inside, and shadows stand around all of it where they are for all servers. So a
//! tree of handles has to say in another order what is the same to requests.
//!
//! What can't be told apart is a PoolRoute with `rates` or `shadows` from a RateLimitRoute or ShadowRoute around one: the rates are
//! shown above the log, the shadows below.

use crate::config::{Choose, Config, Keys, Route, Rule};

/// The log above all of this, if it is that of one PoolRoute.
pub(super) fn spool<'c>(config: &'c Config, route: &'c Route) -> Option<&'c str> {
    match route {
        Route::Pool(_) => None,
        // These are parts of a PoolRoute alone.
        Route::Keys(Keys::Shards { child, .. }) => match &**child {
            Route::Choose(Choose::RateLimit {
                child,
                fallback: None,
                ..
            }) => of(config, child, true),
            child => of(config, child, true),
        },
        route => of(config, route, false),
    }
}

/// `whole`: also where it is not a pool that stands for a single server.
fn of<'c>(config: &'c Config, route: &'c Route, whole: bool) -> Option<&'c str> {
    let same = |children: &'c [Route]| {
        let mut all = children.iter().map(|child| of(config, child, false));
        let first = all.next()??;
        all.all(|other| other == Some(first)).then_some(first)
    };
    match route {
        Route::Pool(index) => {
            let pool = config.pools.get(*index)?;
            let is_part = pool.shown.is_some() && pool.servers.len() == 1;
            pool.spool.as_deref().filter(|_| whole || is_part)
        }
        Route::Choose(Choose::Hash { children, .. }) => same(children),
        Route::Many { rule, children } => match rule {
            Rule::Shadow(_) => of(config, children.first()?, true),
            Rule::Outstanding(_) | Rule::SlowWarmUp(_) => of(config, children.first()?, false),
            Rule::Latest(_) | Rule::Balance { .. } => same(children),
            _ => None,
        },
        _ => None,
    }
}

/// Whether only the first child of a route is part of a PoolRoute that it is part of.
pub(super) fn is_of_first(route: &Route) -> bool {
    matches!(
        route,
        Route::Many {
            rule: Rule::SlowWarmUp(_),
            ..
        }
    )
}

/// What shadows stand around, and those of their targets that get a copy for the key. mcrouter has one handle for all of
/// them, and none where there is no copy.
pub(super) fn shadows<'r>(route: &'r Route, key: &[u8]) -> Option<(&'r Route, Vec<&'r Route>)> {
    let mut targets = Vec::new();
    let mut inner = route;
    let mut is_one = false;
    while let Route::Many {
        rule: Rule::Shadow(shadow),
        children,
    } = inner
        && let [child, others @ ..] = children.as_slice()
    {
        is_one = true;
        if shadow.takes(key) {
            // The outermost has been written last.
            targets.splice(0..0, others);
        }
        inner = child;
    }
    is_one.then_some((inner, targets))
}
