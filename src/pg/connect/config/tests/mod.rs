mod attacks;
mod dump_meanings;
mod strings;
