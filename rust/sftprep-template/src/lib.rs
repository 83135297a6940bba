//! sftprep-template
