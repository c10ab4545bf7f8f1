//! What analyzers say, as data: objects, and the lines expected of them.
