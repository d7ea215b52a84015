//! The names and forms of figures, as mcrouter 0.36 printed them.

use super::*;
use crate::introspect::Start;
use crate::stats::results::Failed;

fn asked(registry: &Registry, words: &[&str]) -> String {
    let start = Start {
        is_mcrouter: true,
        ..Start::default()
    };
    let instance = Instance::new(start, None);
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut out = Vec::new();
    answer(registry, &instance, &words, &mut out);
    String::from_utf8(out).unwrap()
}

fn value(text: &str, name: &str) -> u64 {
    let start = format!("STAT {name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{name}: {text}"))
        .parse()
        .unwrap()
}

#[test]
fn numbers_are_printed_as_by_c() {
    for (number, want) in [
        (2.86957, "2.86957"),
        (0.024056, "0.024056"),
        (0.02, "0.02"),
        (762.7, "762.7"),
        (0.0, "0"),
        (1_234_567.0, "1.23457e+06"),
        (100.0, "100"),
        (0.000_012_3, "1.23e-05"),
    ] {
        assert_eq!(short(number), want);
    }
}

#[test]
fn each_command_is_counted_once_and_under_its_name() {
    let registry = Registry::new(2);
    for stats in registry.each_worker() {
        let worker = &stats.worker;
        worker.cmd_get.add(10);
        worker.cmd_gets.add(3);
        worker.cmd_set.add(9);
        worker.cmd_add.add(4);
        worker.cmd_arith.add(5);
        worker.cmd_decr.add(2);
        worker.cmd_touch.add(6);
        worker.cmd_gat.add(1);
    }
    registry
        .worker(0)
        .unwrap()
        .results
        .ended(Failed::DataTimeout);
    registry
        .worker(0)
        .unwrap()
        .results
        .failed(Failed::DataTimeout);
    registry.worker(1).unwrap().results.failed(Failed::Tko);
    let text = asked(&registry, &["count"]);
    for (name, count) in [
        ("cmd_get_count", 14),
        ("cmd_gets_count", 6),
        ("cmd_set_count", 10),
        ("cmd_add_count", 8),
        ("cmd_incr_count", 6),
        ("cmd_decr_count", 4),
        ("cmd_touch_count", 10),
        ("cmd_gat_count", 2),
        ("request_sent_count", 60),
        ("request_replied_count", 60),
        ("request_error_count", 1),
        ("request_success_count", 59),
        ("result_data_timeout_count", 1),
        ("result_tko_count", 0),
        ("result_tko_all_count", 1),
        ("result_error_all_count", 2),
    ] {
        assert_eq!(value(&text, name), count, "{name}");
    }
}

#[test]
fn every_group_is_answered_and_no_other() {
    let registry = Registry::new(1);
    for group in [
        "all",
        "basic",
        "detailed",
        "cmd",
        "count",
        "timers",
        "cmd-error",
        "ods",
        "external",
        "servers",
        "suspect_servers",
        "version",
    ] {
        let text = asked(&registry, &[group]);
        assert!(text.ends_with("END\r\n"), "{group}: {text}");
    }
    assert_eq!(
        asked(&registry, &["version"]),
        format!(
            "STAT mcrouter-version {}\r\nEND\r\n",
            Compat::Latest.version()
        )
    );
    assert_eq!(asked(&registry, &["suspect_servers"]), "END\r\n");
    for words in [
        &["foo"][..],
        &["reset"],
        &["items"],
        &["SERVERS"],
        &["servers", "foo"],
        &["cachedump", "1", "1"],
    ] {
        assert_eq!(
            asked(&registry, words),
            "CLIENT_ERROR bad stats command\r\n"
        );
    }
}

#[test]
fn the_names_of_0_36_are_there() {
    // As `stats` of the recorded daemon had them.
    const NAMES: &str = "version commandargs pid parent_pid time uptime num_servers num_servers_new num_servers_up num_servers_down num_servers_closed num_clients num_suspect_servers destination_batches_sum destination_requests_sum outstanding_route_get_reqs_queued outstanding_route_update_reqs_queued outstanding_route_get_avg_queue_size outstanding_route_update_avg_queue_size outstanding_route_get_avg_wait_time_sec outstanding_route_update_avg_wait_time_sec retrans_closed_connections destination_pending_reqs destination_inflight_reqs destination_batch_size asynclog_requests proxy_reqs_processing proxy_reqs_waiting client_queue_notify_period rusage_system rusage_user ps_num_minor_faults ps_num_major_faults ps_user_time_sec ps_system_time_sec ps_vsize ps_rss fibers_allocated fibers_pool_size fibers_stack_high_watermark successful_client_connections duration_us destination_max_pending_reqs destination_max_inflight_reqs retrans_per_kbyte_max cmd_delete_out_all cmd_set_out cmd_lease_set_out_all cmd_lease_get_out cmd_get_out cmd_delete_out cmd_other cmd_set_count cmd_delete_count cmd_set cmd_lease_set cmd_lease_get_count cmd_other_out_all cmd_lease_set_count cmd_get_count cmd_set_out_all cmd_lease_get_out_all cmd_other_count cmd_get_out_all cmd_delete cmd_lease_get cmd_lease_set_out cmd_get cmd_other_out";
    const COUNTS: &str = "rate_limited_log_count redirected_lease_set_count request_sent_count request_error_count request_success_count request_replied_count result_error_count result_error_all_count result_connect_error_count result_connect_error_all_count result_connect_timeout_count result_connect_timeout_all_count result_data_timeout_count result_data_timeout_all_count result_busy_count result_busy_all_count result_tko_count result_tko_all_count result_local_error_count result_local_error_all_count";
    let registry = Registry::new(1);
    for (group, names) in [("basic", NAMES), ("count", COUNTS)] {
        let text = asked(&registry, &[group]);
        for name in names.split(' ') {
            assert!(text.contains(&format!("STAT {name} ")), "{name}: {text}");
        }
    }
}
