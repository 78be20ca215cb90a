//! Every way to change a row, against the triggers that must see it.
