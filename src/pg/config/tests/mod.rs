mod attacks;
mod strings;
mod window;
