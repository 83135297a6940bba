//! sftprep-tokenize
