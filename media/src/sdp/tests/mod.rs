//! RFC 8866 and RFC 3264 by tables of what real phones send.
