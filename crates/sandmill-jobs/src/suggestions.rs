use sandmill_model::{ErrorCode, Failure, TenantId, distance, is_near};

use crate::service::Inner;

/// Names the published function that a statement probably means. The engine cannot: it is given
/// only the functions that the statement names.
pub(crate) async fn suggest(inner: &Inner, tenant: &TenantId, failure: Failure) -> Failure {
    if failure.code != ErrorCode::SqlUnknownFunction {
        return failure;
    }
    // A failure stays what it is when there is nothing to suggest.
    let Ok(published) = inner.store.function_list(tenant).await else {
        return failure;
    };
    nearer(failure, published.iter().map(|f| f.info.name.as_str()))
}

/// The name in back quotes.
fn quoted(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

fn nearer<'a>(failure: Failure, published: impl Iterator<Item = &'a str>) -> Failure {
    // A version that is not there has been explained already.
    let Some(wanted) = quoted(&failure.message).filter(|name| !name.contains('@')) else {
        return failure;
    };
    let hinted = failure.hint.as_deref().and_then(quoted);
    let built_in = hinted.map_or(usize::MAX, |name| distance(name, wanted));
    let nearest = published.map(|name| (distance(name, wanted), name)).min();
    match nearest {
        Some((distance, name)) if distance <= built_in && is_near(wanted, distance) => {
            let hint = format!("Did you mean `{name}`?");
            failure.hint(hint)
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let unknown = |name: &str| {
            let message = format!("There is no function `{name}`.");
            Failure::new(ErrorCode::SqlUnknownFunction, message).hint("Did you mean `lower`?")
        };
        let hint = |name: &str| {
            let found = nearer(unknown(name), ["haversine", "lowest"].into_iter());
            found.hint.unwrap_or_default()
        };
        assert_eq!(hint("haversin"), "Did you mean `haversine`?");
        assert_eq!(hint("lowr"), "Did you mean `lower`?");
        assert_eq!(hint("median_of_all"), "Did you mean `lower`?");
        assert_eq!(hint("lowest@9"), "Did you mean `lower`?");
    }
}
