//! RFC 3261 section 25.1: the three shapes that most header fields have.

/// A field whose value is an address with parameters.
macro_rules! address_header {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(pub $crate::msg::NameAddr);

        address_header!(@impl $type, false);
    };
    ($(#[$doc:meta])* $type:ident, list) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(pub $crate::msg::NameAddr);

        address_header!(@impl $type, true);
        impl $crate::msg::ListHeader for $type {}
    };
    (@impl $type:ident, $is_list:literal) => {
        impl $crate::msg::Header for $type {
            const NAME: $crate::msg::Name = $crate::msg::Name::$type;
            const IS_LIST: bool = $is_list;
            fn parse(value: &str) -> Result<Self, $crate::msg::HeaderError> {
                let address = $crate::msg::NameAddr::parse(value);
                address.map($type).ok_or($crate::msg::HeaderError::malformed(Self::NAME))
            }
        }

        impl std::ops::Deref for $type {
            type Target = $crate::msg::NameAddr;
            fn deref(&self) -> &$crate::msg::NameAddr {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// A list of `<uri>;params`, where the brackets must be there: without them the URI's parameters would be the field's.
macro_rules! bracketed_header {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(pub $crate::msg::NameAddr);

        impl $crate::msg::Header for $type {
            const NAME: $crate::msg::Name = $crate::msg::Name::$type;
            const IS_LIST: bool = true;
            fn parse(value: &str) -> Result<Self, $crate::msg::HeaderError> {
                let address = $crate::msg::NameAddr::parse(value).filter(|_| value.contains('<'));
                address.map($type).ok_or($crate::msg::HeaderError::malformed(Self::NAME))
            }
        }

        impl $crate::msg::ListHeader for $type {}

        impl std::ops::Deref for $type {
            type Target = $crate::msg::NameAddr;
            fn deref(&self) -> &$crate::msg::NameAddr {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// A field of one word, or a list of words.
macro_rules! token_header {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(pub String);

        token_header!(@impl $type, false);
    };
    ($(#[$doc:meta])* $type:ident, list) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(pub String);

        token_header!(@impl $type, true);
        impl $crate::msg::ListHeader for $type {
            const MAY_BE_EMPTY: bool = true;
        }
    };
    (@impl $type:ident, $is_list:literal) => {
        impl $crate::msg::Header for $type {
            const NAME: $crate::msg::Name = $crate::msg::Name::$type;
            const IS_LIST: bool = $is_list;
            fn parse(value: &str) -> Result<Self, $crate::msg::HeaderError> {
                let value = $crate::msg::scan::trim(value);
                $crate::msg::scan::is_token(value)
                    .then(|| $type(value.to_owned()))
                    .ok_or($crate::msg::HeaderError::malformed(Self::NAME))
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A word with parameters: `struct $type { $word: String, params: Params }`.
macro_rules! word_header {
    ($(#[$doc:meta])* $type:ident { $(#[$word_doc:meta])* $word:ident } $(, $list:ident)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type {
            $(#[$word_doc])*
            pub $word: String,
            /// Parameters.
            pub params: $crate::msg::Params,
        }

        impl $type {
            /// The word without parameters.
            pub fn new($word: &str) -> Self {
                $type { $word: $word.to_owned(), params: $crate::msg::Params::new() }
            }
        }

        impl $crate::msg::Header for $type {
            const NAME: $crate::msg::Name = $crate::msg::Name::$type;
            const IS_LIST: bool = word_header!(@is_list $($list)?);
            fn parse(value: &str) -> Result<Self, $crate::msg::HeaderError> {
                let (word, params) = value.split_at(value.find(';').unwrap_or(value.len()));
                let word = $crate::msg::scan::trim(word);
                let params = $crate::msg::Params::parse(params)
                    .filter(|_| $crate::msg::scan::is_token(word))
                    .ok_or($crate::msg::HeaderError::malformed(Self::NAME))?;
                Ok($type { $word: word.to_owned(), params })
            }
        }

        $(word_header!(@$list $type);)?

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}{}", self.$word, self.params)
            }
        }
    };
    (@is_list) => { false };
    (@is_list list) => { true };
    (@list $type:ident) => {
        impl $crate::msg::ListHeader for $type {}
    };
}

/// A field that is one number.
macro_rules! number_header {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $type(pub u32);

        impl $crate::msg::Header for $type {
            const NAME: $crate::msg::Name = $crate::msg::Name::$type;
            fn parse(value: &str) -> Result<Self, $crate::msg::HeaderError> {
                $crate::msg::scan::saturating_u32($crate::msg::scan::trim(value))
                    .map($type)
                    .ok_or($crate::msg::HeaderError::malformed(Self::NAME))
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
