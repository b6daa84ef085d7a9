mod attacks;
mod dump_meanings;
mod numbers;
mod secrets;
mod strings;
