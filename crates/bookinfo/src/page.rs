//! The HTML of the product page. Everything that came from outside is escaped here.

use std::fmt::Write;

use serde_json::Value;

use crate::reviews::{Rating, Reviews};

pub const TITLE: &str = "The Comedy of Errors";
pub const DESCRIPTION: &str = "One of <b>Shakespeare's</b> earliest comedies, and his shortest: twins parted at birth meet in one town.";
pub const STYLE: &str = include_str!("style.css");
const MOST_STARS: i64 = 5;

/// The front page, which only leads on.
pub fn index() -> String {
    document(
        "Bookinfo",
        "<main><h1>Bookinfo</h1><p>A sample of four services. \
         <a href=\"/productpage\">See the product page</a>.</p></main>",
    )
}

/// The product page for a user, with what the services answered or the text to show instead.
pub fn product(
    user: Option<&str>,
    details: Result<&Value, &str>,
    reviews: Result<&Reviews, &str>,
) -> String {
    let mut body = String::from("<header><span class=\"brand\">BookInfo Sample</span>");
    match user {
        Some(name) => {
            let name = escape(name);
            let _ = write!(
                body,
                "<span class=\"session\">Signed in as <b id=\"user\">{name}</b> \
                 <a id=\"logout\" href=\"/logout\">Sign out</a></span>"
            );
        }
        None => body.push_str(
            "<form class=\"session\" id=\"login\" method=\"post\" action=\"/login\">\
             <input name=\"username\" placeholder=\"User name\" maxlength=\"64\" required>\
             <input name=\"passwd\" type=\"password\" placeholder=\"Password\">\
             <button type=\"submit\">Sign in</button></form>",
        ),
    }
    let _ = write!(
        body,
        "</header><main><h1>{TITLE}</h1><p>{DESCRIPTION}</p><div class=\"columns\">"
    );
    details_section(&mut body, details);
    reviews_section(&mut body, reviews);
    body.push_str("</div></main>");
    document("Simple Bookstore App", &body)
}

fn details_section(body: &mut String, details: Result<&Value, &str>) {
    body.push_str("<section id=\"details\">");
    match details {
        Ok(details) => {
            body.push_str("<h2>Book Details</h2><dl>");
            for field in ["ISBN-10", "publisher", "pages", "type", "language"] {
                let value = match details.get(field) {
                    Some(Value::String(text)) => escape(text),
                    Some(Value::Number(number)) => number.to_string(),
                    _ => continue,
                };
                let _ = write!(body, "<dt>{field}</dt><dd>{value}</dd>");
            }
            body.push_str("</dl>");
        }
        Err(message) => trouble(body, "Error fetching product details", message),
    }
    body.push_str("</section>");
}

fn reviews_section(body: &mut String, reviews: Result<&Reviews, &str>) {
    body.push_str("<section id=\"reviews\">");
    match reviews {
        Ok(reviews) => {
            body.push_str("<h2>Book Reviews</h2>");
            for review in &reviews.reviews {
                let text = escape(&review.text);
                let reviewer = escape(&review.reviewer);
                let _ = write!(body, "<blockquote><p>{text}</p><small>{reviewer}</small>");
                match &review.rating {
                    Some(Rating::Stars { stars, color }) => stars_of(body, *stars, color),
                    Some(Rating::Unknown { error }) => {
                        let _ = write!(body, "<p class=\"trouble\">{}</p>", escape(error));
                    }
                    None => {}
                }
                body.push_str("</blockquote>");
            }
            let _ = write!(
                body,
                "<p class=\"served\">Reviews served by <code>{}</code>",
                escape(&reviews.podname)
            );
            if let Some(cluster) = &reviews.clustername {
                let _ = write!(body, " on <code>{}</code>", escape(cluster));
            }
            body.push_str("</p>");
        }
        Err(message) => trouble(body, "Error fetching product reviews", message),
    }
    body.push_str("</section>");
}

fn stars_of(body: &mut String, stars: i64, color: &str) {
    let stars = stars.clamp(0, MOST_STARS);
    let full = "★".repeat(usize::try_from(stars).unwrap_or(0));
    let empty = "☆".repeat(usize::try_from(MOST_STARS - stars).unwrap_or(0));
    let color = escape(color);
    let _ = write!(
        body,
        "<font class=\"stars\" color=\"{color}\" title=\"{stars} of {MOST_STARS}\">{full}{empty}</font>"
    );
}

fn trouble(body: &mut String, heading: &str, message: &str) {
    let _ = write!(
        body,
        "<h2 class=\"trouble\">{heading}</h2><p class=\"trouble\">{message}</p>"
    );
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/static/style.css\">\
         </head><body>{body}</body></html>\n"
    )
}

/// Text as it may stand in HTML, also inside a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
