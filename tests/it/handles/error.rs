//! ErrorRoute: what clients see, and whether a failover goes on.

use super::place::Place;

#[test]
fn an_error_route_says_what_it_is_told_to() {
    let show = ["--disable-miss-on-get-errors"];
    let updates = [
        "set k 0 0 1\r\nx\r\n",
        "add k 0 0 1\r\nx\r\n",
        "cas k 0 0 1 7\r\nx\r\n",
        "delete k\r\n",
        "incr k 1\r\n",
        "touch k 5\r\n",
        "ms k 1\r\nx\r\n",
        "md k\r\n",
        "ma k\r\n",
    ];
    let gets = ["get k\r\n", "gets k\r\n", "gat 5 k\r\n", "mg k v\r\n"];
    for (route, line) in [
        (
            "ErrorRoute\", \"PoolRoute|A",
            "SERVER_ERROR local error\r\n",
        ),
        (
            "ErrorRoute|boom text\", \"PoolRoute|A",
            "SERVER_ERROR boom text\r\n",
        ),
    ] {
        // The first of two; the second has no weight.
        let route = format!(
            "{{\"type\": \"HashRoute\", \"children\": [\"{route}\"], \"hash_func\": \"WeightedCh3\", \"weights\": [1, 0]}}"
        );
        let (hiding, showing) = (Place::mcrouter(&route), Place::mcrouter_with(&route, &show));
        for place in [&hiding, &showing] {
            let mut c = place.client();
            for ask in updates {
                c.ask(ask, line);
            }
        }
        let mut c = hiding.client();
        for ask in &gets[..3] {
            c.ask(*ask, "END\r\n");
        }
        c.ask(gets[3], "EN\r\n");
        let mut c = showing.client();
        for ask in gets {
            c.ask(ask, line);
        }
        c.ask("get k l\r\n", line);
        assert_eq!(hiding.counts(), [0; 3]);
    }
}

#[test]
fn every_result_of_an_error_route_has_its_words_and_its_failover() {
    for (result, line, fails_over) in [
        ("local_error", "SERVER_ERROR local error", true),
        ("remote_error", "SERVER_ERROR remote error", true),
        ("timeout", "SERVER_ERROR timeout", true),
        ("connect_timeout", "SERVER_ERROR connection timeout", true),
        ("connect_error", "SERVER_ERROR connection error", true),
        ("busy", "SERVER_ERROR 307 busy", true),
        ("try_again", "SERVER_ERROR 302 try again", true),
        ("shutdown", "SERVER_ERROR 301 shutdown", true),
        ("tko", "SERVER_ERROR unavailable", true),
        (
            "deadline_exceeded",
            "SERVER_ERROR request deadline exceeded",
            true,
        ),
        ("ooo", "SERVER_ERROR out of order", false),
        ("bad_key", "CLIENT_ERROR bad key", false),
        ("bad_value", "SERVER_ERROR bad value", false),
        ("aborted", "SERVER_ERROR aborted", false),
        ("client_error", "CLIENT_ERROR", false),
        ("overloaded", "SERVER_ERROR overloaded", false),
    ] {
        let error = format!("{{\"type\": \"ErrorRoute\", \"result\": \"mc_res_{result}\"}}");
        let route = format!(
            "{{\"type\": \"OperationSelectorRoute\", \"default_policy\": {error}, \"operation_policies\": {{\"delete\": {{\"type\": \"FailoverRoute\", \"children\": [{error}, \"PoolRoute|B\"]}}}}}}"
        );
        let place = Place::mcrouter(&route);
        let mut c = place.client();
        c.ask("set k 0 0 1\r\nx\r\n", format!("{line}\r\n"));
        let after = match fails_over {
            true => "DELETED",
            false => line,
        };
        c.ask("delete k\r\n", format!("{after}\r\n"));
        assert_eq!(place.counts(), [0, usize::from(fails_over), 0], "{result}");
    }
}
