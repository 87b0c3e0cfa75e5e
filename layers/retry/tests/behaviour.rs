//! What the layer does, on a paused clock.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::*;
use http::{Request, StatusCode};
use tokio::time::Instant;
use tollway_core::{BoxError, ErrorClass, Failure, Plan, Target, find_error};
use tollway_retry::*;
use tower::ServiceExt;

#[tokio::test(start_paused = true)]
async fn the_first_success_is_untouched() {
    let world = World::new([("a", vec![status(200)])]);
    let response = world.run(plan(["a", "b"])).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.extensions().get::<Attempts>().is_none());
    assert_eq!(response.extensions().get::<Target>(), Some(&target("a")));
    assert_eq!(Attempts::header(&response).unwrap(), "a/m;200");
    assert_eq!(world.calls(), ["a"]);
    assert!(world.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_plain_service_is_retried_with_backoff() {
    let world = World::new([("", vec![status(503), status(500), status(200)])]);
    let start = Instant::now();
    let response = world.run(request()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(start.elapsed(), secs(1 + 2));
    assert_eq!(Attempts::header(&response).unwrap(), "-;503, -;500, -;200");
    let retrying =
        |attempt, class, wait| Event::Retrying { attempt, class, wait: secs(wait), target: None };
    assert_eq!(
        world.events(),
        [
            retrying(2, ErrorClass::Overloaded, 1),
            retrying(3, ErrorClass::Server, 2),
            Event::Recovered { attempts: 3, target: None },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn another_target_comes_before_a_wait() {
    let world =
        World::new([("a", vec![status(500)]), ("b", vec![status(429)]), ("c", vec![status(200)])]);
    let start = Instant::now();
    let response = world.run(plan(["a", "b", "c"])).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(Attempts::header(&response).unwrap(), "a/m;500, b/m;429, c/m;200");
    assert_eq!(response.extensions().get::<Target>(), Some(&target("c")));
    let over = |attempt, class, from, to| Event::FailingOver {
        attempt,
        class,
        from: Some(target(from)),
        to: Some(target(to)),
    };
    assert_eq!(
        world.events(),
        [
            over(2, ErrorClass::Server, "a", "b"),
            over(3, ErrorClass::RateLimit, "b", "c"),
            Event::Recovered { attempts: 3, target: Some(target("c")) },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn history_tells_waits_times_and_classes() {
    let world =
        World::new([("a", vec![slow(secs(3), 503)]), ("b", vec![error(ErrorClass::Network)])]);
    let response = world.run(plan(["a", "b"])).await.unwrap();
    let attempts = response.extensions().get::<Attempts>().unwrap();
    assert_eq!(attempts.to_string(), "a/m;503, b/m;network, a/m;200");
    assert_eq!(attempts[0].elapsed, secs(3));
    assert_eq!((attempts[1].status, attempts[1].class), (None, Some(ErrorClass::Network)));
    assert_eq!((attempts[2].waited, attempts[2].class), (secs(1), None));
}

#[tokio::test(start_paused = true)]
async fn a_short_hint_is_waited_out_on_the_same_target() {
    let world = World::new([("a", vec![hint(429, "0.8"), status(200)])]);
    let start = Instant::now();
    assert_eq!(world.run(plan(["a", "b"])).await.unwrap().status(), 200);
    assert_eq!(
        (world.calls(), start.elapsed()),
        (vec!["a".into(), "a".into()], Duration::from_millis(800))
    );
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_moment_again_and_again_is_stayed_with_once() {
    let again = (0..4).map(|_| hint(429, "1")).collect();
    let world = World::new([("a", again), ("b", vec![status(200)])]);
    assert_eq!(world.run(plan(["a", "b"])).await.unwrap().status(), 200);
    assert_eq!(world.calls().join(" "), "a a b");
}

#[tokio::test(start_paused = true)]
async fn hints_choose_the_target_that_is_ready_first() {
    let world = World::new([("a", vec![hint(429, "7")]), ("b", vec![hint(429, "40")])]);
    let start = Instant::now();
    assert_eq!(world.run(plan(["a", "b"])).await.unwrap().status(), 200);
    assert_eq!((world.calls().join(" ").as_str(), start.elapsed()), ("a b a", secs(7)));
}

#[tokio::test(start_paused = true)]
async fn a_date_is_read_against_the_injected_clock() {
    // The clock stands at 1994-11-06 08:49:07.
    let world = World::new([("", vec![hint(503, "Sun, 06 Nov 1994 08:49:37 GMT")])]);
    let start = Instant::now();
    assert_eq!(world.run(request()).await.unwrap().status(), 200);
    assert_eq!(start.elapsed(), secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_hint_of_a_year_goes_to_the_caller_at_once() {
    let world = World::new([("", vec![hint(429, "31536000")])]);
    let start = Instant::now();
    let response = world.run(request()).await.unwrap();
    assert_eq!(
        (response.status(), start.elapsed()),
        (StatusCode::TOO_MANY_REQUESTS, Duration::ZERO)
    );
    assert_eq!(response.headers()["retry-after"], "31536000");
    let class = ErrorClass::RateLimit;
    assert_eq!(world.events(), [Event::Exhausted { attempts: 1, class, why: Stop::Hint }]);
}

#[tokio::test(start_paused = true)]
async fn a_hint_of_minus_one_is_no_hint() {
    let world = World::new([("", vec![hint(429, "-1")])]);
    let start = Instant::now();
    assert_eq!(world.run(request()).await.unwrap().status(), 200);
    assert_eq!(start.elapsed(), secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_retry_goes_elsewhere_or_nowhere() {
    let forbid = || header(503, "x-should-retry", "false");
    let world = World::new([("", vec![forbid()])]);
    assert_eq!(world.run(request()).await.unwrap().status(), 503);
    let world = World::new([("a", vec![forbid()]), ("b", vec![status(503)])]);
    assert_eq!(world.run(plan(["a", "b"])).await.unwrap().status(), 200);
    assert_eq!(world.calls(), ["a", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_benched_key_is_left_with_all_its_models() {
    let quota = || failed(429, Failure::new(ErrorClass::Quota, "insufficient_quota"));
    let world = World::new([("a", vec![quota()])]);
    let plan = plan_of([keyed("a", "k1", "x"), keyed("a", "k1", "y"), keyed("a", "k2", "x")]);
    let response = world.run(plan).await.unwrap();
    assert_eq!(Attempts::header(&response).unwrap(), "a/x;429, a/x;200");
    assert_eq!(&**response.extensions().get::<Target>().unwrap().key(), "k2");
}

#[tokio::test(start_paused = true)]
async fn benched_keys_are_never_waited_for() {
    let world = World::new([("a", vec![status(401)]), ("b", vec![status(402)])]);
    let start = Instant::now();
    let response = world.run(plan(["a", "b"])).await.unwrap();
    assert_eq!(
        (response.status(), start.elapsed()),
        (StatusCode::PAYMENT_REQUIRED, Duration::ZERO)
    );
    assert_eq!(world.calls(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_request_is_sent_once() {
    for code in [400, 409, 413, 422, 499] {
        let world = World::new([("a", vec![status(code)])]);
        assert_eq!(world.run(plan(["a", "b"])).await.unwrap().status(), code);
        assert_eq!(world.calls(), ["a"]);
        assert!(world.events().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn context_length_goes_on_and_content_filter_only_if_told() {
    let classes = [ErrorClass::ContextLength, ErrorClass::ContentFilter];
    for (class, extra, calls) in [
        (classes[0], Classes::NONE, 2),
        (classes[1], Classes::NONE, 1),
        (classes[1], Classes::NONE.with(classes[1]), 2),
    ] {
        let mut settings = settings();
        settings.fail_over_on = settings.fail_over_on.iter().chain(extra.iter()).collect();
        let world = World::with([("a", vec![failed(400, Failure::new(class, "no"))])], settings);
        let _ = world.run(plan(["a", "b"])).await.unwrap();
        assert_eq!(world.calls().len(), calls, "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_fits_goes_elsewhere_without_a_wait() {
    let failure = || Failure::new(ErrorClass::RateLimit, "too large").that_never_fits();
    let world =
        World::new([("a", vec![failed(429, failure())]), ("b", vec![failed(429, failure())])]);
    let start = Instant::now();
    assert_eq!(world.run(plan(["a", "b"])).await.unwrap().status(), 429);
    assert_eq!((world.calls().len(), start.elapsed()), (2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_error_hidden_in_a_200_fails_over() {
    let failure = Failure::new(ErrorClass::Overloaded, "overloaded_error before the first token");
    let world = World::new([("a", vec![failed(200, failure)])]);
    let response = world.run(plan(["a", "b"])).await.unwrap();
    assert_eq!(Attempts::header(&response).unwrap(), "a/m;overloaded, b/m;200");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_capped_over_all_targets() {
    let world = World::new(["a", "b", "c", "d"].map(|name| (name, vec![status(503); 9])));
    assert_eq!(world.run(plan(["a", "b", "c", "d"])).await.unwrap().status(), 503);
    assert_eq!(world.calls(), ["a", "b", "c"]);
    let class = ErrorClass::Overloaded;
    let last = world.events().pop();
    assert_eq!(last, Some(Event::Exhausted { attempts: 3, class, why: Stop::Attempts }));
}

#[tokio::test(start_paused = true)]
async fn attempts_per_target_are_capped() {
    let settings = Settings { attempts: 9, attempts_per_target: Some(2), ..settings() };
    let world = World::with(["a", "b"].map(|name| (name, vec![status(503); 9])), settings);
    let _ = world.run(plan(["a", "b"])).await.unwrap();
    assert_eq!(world.calls(), ["a", "b", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_target_first_if_told() {
    let settings =
        Settings { attempts_per_target: Some(2), prefer: Prefer::SameTarget, ..settings() };
    let world = World::with([("a", vec![status(503); 9])], settings);
    assert_eq!(world.run(plan(["a", "b"])).await.unwrap().status(), 200);
    assert_eq!(world.calls(), ["a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn no_wait_goes_past_the_deadline() {
    let world = World::new([("", vec![hint(503, "10")])]);
    let (mut request, start) = (request(), Instant::now());
    request.extensions_mut().insert(Deadline(start + secs(10)));
    let response = world.run(request).await.unwrap();
    assert_eq!(
        (response.status(), start.elapsed()),
        (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO)
    );
    let class = ErrorClass::Overloaded;
    assert_eq!(world.events(), [Event::Exhausted { attempts: 1, class, why: Stop::Deadline }]);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_after_the_deadline() {
    let world = World::new([("a", vec![slow(secs(10), 503)])]);
    let mut request = plan(["a", "b"]);
    request.extensions_mut().insert(Deadline(Instant::now() + secs(5)));
    assert_eq!(world.run(request).await.unwrap().status(), 503);
    assert_eq!(world.calls(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_reply_beats_a_local_refusal() {
    let world = World::new([("a", vec![status(500)]), ("b", vec![error(ErrorClass::RateLimit)])]);
    let response = world.only(2).run(plan(["a", "b"])).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(response.extensions().get::<Target>(), Some(&target("a")));
    assert_eq!(Attempts::header(&response).unwrap(), "a/m;500, b/m;rate_limit");
}

#[tokio::test(start_paused = true)]
async fn of_rate_limits_the_smallest_hint_is_told() {
    let world = World::new([("a", vec![hint(429, "70")]), ("b", vec![hint(429, "90")])]);
    let response = world.run(plan(["a", "b"])).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "70");
    let world = World::new([("a", vec![hint(429, "90")]), ("b", vec![hint(429, "70")])]);
    let response = world.run(plan(["a", "b"])).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "70");
}

#[tokio::test(start_paused = true)]
async fn an_operators_affair_is_told_last() {
    let world = World::new([("a", vec![status(503)]), ("b", vec![status(401)])]);
    let response = world.only(2).run(plan(["a", "b"])).await.unwrap();
    assert_eq!(response.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_its_chain_and_gains_a_history() {
    let world = World::new([("", vec![error(ErrorClass::Timeout); 3])]);
    let error = world.run(request()).await.unwrap_err();
    assert_eq!(find_error::<Failure>(&*error).unwrap().class(), ErrorClass::Timeout);
    let history = find_error::<RetryError>(&*error).unwrap().attempts();
    assert_eq!(history.header_value(), "-;timeout, -;timeout, -;timeout");
    assert_eq!(error.to_string(), "scripted");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_copied_gets_one_attempt() {
    let world = World::new([("a", vec![status(503)])]);
    let response = world.run_with(plan(["a", "b"]), |_: &Request<Body>| None).await.unwrap();
    assert_eq!(response.status(), 503);
    let class = ErrorClass::Overloaded;
    assert_eq!(world.events(), [Event::Exhausted { attempts: 1, class, why: Stop::Body }]);
}

#[tokio::test(start_paused = true)]
async fn closures_classify() {
    let world = World::new([("", vec![status(404)])]);
    let policy = policy_fn(
        |request: &Request<Body>| Some(request.clone()),
        |outcome: &Result<http::Response<Body>, BoxError>| {
            let missing = outcome.as_ref().is_ok_and(|response| response.status() == 404);
            missing.then(|| Failure::new(ErrorClass::Overloaded, "not there yet"))
        },
    );
    assert_eq!(world.run_with(request(), policy).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_allows_no_repeat_but_another_target() {
    let none = BudgetSettings { percent: 0, floor_per_second: 0, ..BudgetSettings::default() };
    let world = World::new([("a", vec![hint(429, "0.5")]), ("b", vec![status(503)])])
        .budget(Budget::new(none).unwrap());
    assert_eq!(world.run(plan(["a", "b"])).await.unwrap().status(), 503);
    assert_eq!(world.calls(), ["a", "b"]);
    let empty = |class, name| Event::BudgetEmpty { class, target: Some(target(name)) };
    let class = ErrorClass::Overloaded;
    let events = world.events();
    assert_eq!(events[0], empty(ErrorClass::RateLimit, "a"));
    assert!(matches!(events[1], Event::FailingOver { attempt: 2, .. }));
    assert_eq!(events[2], empty(class, "b"));
    assert_eq!(events[3], Event::Exhausted { attempts: 2, class, why: Stop::Budget });
}

#[tokio::test(start_paused = true)]
async fn a_budget_may_count_failovers() {
    let none = BudgetSettings {
        percent: 0,
        floor_per_second: 0,
        count_failovers: true,
        ..BudgetSettings::default()
    };
    let world = World::new([("a", vec![status(503)])]).budget(Budget::new(none).unwrap());
    assert_eq!(world.run(plan(["a", "b"])).await.unwrap().status(), 503);
    assert_eq!(world.calls(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_held_to_the_budget() {
    let settings = BudgetSettings { percent: 20, floor_per_second: 1, ..BudgetSettings::default() };
    let world = World::new([("", vec![status(503); 1000])]).budget(Budget::new(settings).unwrap());
    let calls = (0..100).map(|_| world.run(request()));
    futures_all(calls.collect()).await;
    // 100 requests, 20 % of them and a floor of 10 for the window.
    assert_eq!(world.calls().len(), 130);
}

#[tokio::test(start_paused = true)]
async fn requests_are_sent_again_whole() {
    let world = World::new([("a", vec![status(503)]), ("b", vec![status(503)])]);
    let mut request = plan(["a", "b"]);
    *request.method_mut() = http::Method::PUT;
    *request.uri_mut() = "/x?y=z".parse().unwrap();
    *request.version_mut() = http::Version::HTTP_2;
    request.headers_mut().insert("x-a", "1".parse().unwrap());
    request.extensions_mut().insert(7_u8);
    assert_eq!(world.run(request).await.unwrap().status(), 200);
    let seen = world.seen();
    assert_eq!(seen.len(), 3);
    for (seen, name) in seen.into_iter().zip(["a", "b", "a"]) {
        assert_eq!(
            (seen.method(), seen.uri().to_string().as_str()),
            (&http::Method::PUT, "/x?y=z")
        );
        assert_eq!(
            (seen.version(), &seen.headers()["x-a"]),
            (http::Version::HTTP_2, &"1".parse().unwrap())
        );
        assert_eq!(seen.extensions().get::<u8>(), Some(&7));
        assert_eq!(seen.extensions().get::<Target>(), Some(&target(name)));
        assert!(seen.extensions().get::<Plan>().is_some());
        assert_eq!(text(seen.into_body()).await, "hello");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_read_once_is_sent_again_only_while_it_is_whole() {
    struct Uploads;
    impl<R> Policy<OnceBody<Body>, R> for Uploads {
        fn clone_request(
            &self,
            request: &Request<OnceBody<Body>>,
        ) -> Option<Request<OnceBody<Body>>> {
            Some(request.clone())
        }
        fn can_replay(&self, kept: &Request<OnceBody<Body>>) -> bool {
            kept.body().is_whole()
        }
    }
    for (reads_first, expected) in [(false, 200), (true, 503)] {
        let mut first = true;
        let service = tower::service_fn(move |request: Request<OnceBody<Body>>| {
            let (reads, code) = if first { (reads_first, 503) } else { (true, 200) };
            first = false;
            async move {
                if reads {
                    assert_eq!(text(request.into_body()).await, "hello");
                }
                let response = http::Response::builder().status(code).body(())?;
                Ok::<_, BoxError>(response)
            }
        });
        let shared = tower::util::BoxCloneService::new(Once(std::sync::Arc::new(
            std::sync::Mutex::new(service),
        )));
        let layer = RetryLayer::builder(Config::new(settings()).unwrap()).policy(Uploads).build();
        let service = tower::Layer::layer(&layer, shared);
        let response =
            service.oneshot(Request::new(OnceBody::new(Body::from("hello")))).await.unwrap();
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_reply_outlives_a_wait_only_if_the_policy_allows() {
    #[derive(Clone, Copy)]
    struct Keeps(bool);
    impl Policy<Body, Body> for Keeps {
        fn clone_request(&self, request: &Request<Body>) -> Option<Request<Body>> {
            Some(request.clone())
        }
        fn may_keep(&self, _: &http::Response<Body>) -> bool {
            self.0
        }
    }
    for keeps in [true, false] {
        let world = World::new([("", vec![status(500), error(ErrorClass::RateLimit)])]).only(2);
        let answer = world.run_with(request(), Keeps(keeps)).await;
        assert_eq!(answer.is_ok(), keeps);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_benched_later_takes_its_other_models_with_it() {
    let world = World::new([("a", vec![status(503), status(401)])]);
    let response = world.run(plan_of([keyed("a", "k", "x"), keyed("a", "k", "y")])).await.unwrap();
    assert_eq!(Attempts::header(&response).unwrap(), "a/x;503, a/y;401");
    let last = world.events().pop();
    let class = ErrorClass::Auth;
    assert_eq!(last, Some(Event::Exhausted { attempts: 2, class, why: Stop::Targets }));
}

#[tokio::test(start_paused = true)]
async fn the_longest_hint_is_obeyed_and_times_are_each_attempts_own() {
    let mut acts = vec![slow(secs(3), 429), slow(secs(2), 503)];
    acts[0].headers.insert("retry-after", http::HeaderValue::from_static("60"));
    let response = World::new([("", acts)]).run(request()).await.unwrap();
    let attempts = response.extensions().get::<Attempts>().unwrap();
    let times: Vec<_> = attempts.iter().map(|attempt| (attempt.waited, attempt.elapsed)).collect();
    assert_eq!(times, [(secs(0), secs(3)), (secs(60), secs(2)), (secs(2), secs(0))]);
}
