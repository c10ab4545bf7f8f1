//! What the fault and CORS filters answer by themselves, as the chosen route tells them.

use std::collections::HashMap;

use hawser_proto::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use hawser_proto::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use hawser_proto::envoy::extensions::filters::http::fault::v3::HttpFault;
use hawser_proto::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;
use hawser_proto::envoy::r#type::v3::FractionalPercent;
use hawser_proto::envoy::r#type::v3::fractional_percent::DenominatorType;
use hawser_proto::google::protobuf::Any;

use crate::call::HttpCall;
use crate::config::unpack;
use crate::{Verdict, strings, token};

/// The verdict of a route's own filter settings; `None` if they let the request pass.
pub(crate) fn walk(
    settings: &HashMap<String, Any>,
    request: &HttpCall,
    steps: &mut Vec<String>,
) -> Option<Verdict> {
    let fault = settings.values().find_map(unpack::<HttpFault>);
    fault
        .and_then(|f| injected(&f, request, steps))
        .or_else(|| {
            let policy = settings.values().find_map(unpack::<CorsPolicy>)?;
            preflight(&policy, request, steps)
        })
}

fn injected(fault: &HttpFault, request: &HttpCall, steps: &mut Vec<String>) -> Option<Verdict> {
    if !fault.headers.iter().all(|h| strings::header(h, request)) {
        return None;
    }
    if let Some(delay) = &fault.delay
        && let Some(FaultDelaySecifier::FixedDelay(time)) = &delay.fault_delay_secifier
    {
        let seconds = time.seconds as f64 + f64::from(time.nanos) / 1e9;
        steps.push(format!(
            "fault: {}% wait {seconds} s",
            percent(delay.percentage.as_ref())
        ));
    }
    let abort = fault.abort.as_ref()?;
    let Some(ErrorType::HttpStatus(status)) = &abort.error_type else {
        return None;
    };
    let share = percent(abort.percentage.as_ref());
    steps.push(format!("fault: {share}% are answered with {status}"));
    (share >= 100.0).then(|| Verdict::Refused {
        status: *status,
        why: "fault injected by the route".to_owned(),
    })
}

fn percent(p: Option<&FractionalPercent>) -> f64 {
    let Some(p) = p else { return 0.0 };
    let of = match DenominatorType::try_from(p.denominator) {
        Ok(DenominatorType::TenThousand) => 10_000.0,
        Ok(DenominatorType::Million) => 1_000_000.0,
        _ => 100.0,
    };
    100.0 * f64::from(p.numerator) / of
}

/// A preflight of an origin that the policy knows is answered; what becomes of others, the policy says too.
fn preflight(policy: &CorsPolicy, request: &HttpCall, steps: &mut Vec<String>) -> Option<Verdict> {
    if !token::is_preflight(request) {
        return None;
    }
    let origin = request.header("origin").unwrap_or_default();
    let known = policy
        .allow_origin_string_match
        .iter()
        // Envoy's filter asks for `*` first.
        .any(|m| strings::matches(m, "*") || strings::matches(m, &origin));
    let forwards = policy
        .forward_not_matching_preflights
        .as_ref()
        .is_none_or(|v| v.value);
    steps.push(format!(
        "cors: origin {origin} is {}",
        if known { "allowed" } else { "not allowed" }
    ));
    (known || !forwards).then(|| Verdict::Answered {
        status: 200,
        location: String::new(),
    })
}
