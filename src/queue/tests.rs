//! The queue whole: a real spool, a relay that does as it is told, and a clock that is told the time.
//!
//! These tests wait for tasks and for a disk. What the queue decides is tested without both, in `reducer/tests/`: a test
//! is here only if it needs one of these.
//!
//! | test | needs |
//! |---|---|
//! | `delivery::a_message_is_sent_at_once_and_leaves_the_spool` | the way of a message through all tasks, and a connection that is gone when it is given one |
//! | `delivery::a_failure_is_reported_to_the_reverse_path_before_the_original_goes` | the DSN's record, which ends the original |
//! | `delivery::a_restart_picks_everything_up` | recovery of a spool from a disk |
//! | `delivery::stopping_waits_for_the_reply_to_a_final_dot_and_gives_out_nothing_new` | the end of the owner's task |
//! | `delivery::a_connection_that_panics_loses_nothing` | a panic of a connection's task |
//! | `delivery::what_one_transaction_came_to_is_recorded_before_the_next` | a message that is read again for each transaction, and a panic between two |
//! | `delivery::a_reload_gives_the_new_settings_to_what_is_queued_already` | the owner's way from the settings to a connection |
//! | `delivery::another_secret_is_noticed_after_a_panic_in_what_looks_at_it` | a panic of the task that watches the secret |
//! | `routes::each_message_on_the_spool_finds_its_relay_at_its_arrival_a_start_and_a_reload` | the content of messages on a disk, and the task that looks their relays up |
//! | `disks::while_deliveries_cannot_be_recorded_nothing_is_sent` | a disk that is full or read-only |
//! | `disks::a_spool_that_does_not_record_is_asked_again_after_a_panic` | that, and a panic of the task that asks the spool |
//! | `disks::what_the_relay_took_is_recorded_as_soon_as_it_can_be` | the settlement's task, while the disk is full |
//! | `disks::a_full_disk_drains_with_a_bounce_among_the_mail` | the spool's reserve on a full disk |
//! | `disks::a_message_that_cannot_be_read_now_is_tried_again_and_said_to_be` | a disk that cannot be read |
//! | `in_flight::any_history_has_a_line_for_each_copy` | kills at any moment, and the marks that they leave on the disk |
//! | `in_flight::hidden::a_kill_at_any_moment_before_a_refusal_is_recorded_hides_no_duplicate` | kills between any two calls to the disk |

mod bench;
mod delivery;
mod disks;
mod in_flight;
mod routes;
