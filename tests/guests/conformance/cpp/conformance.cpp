// The conformance functions again, built as C++: the headers must be good for both.
#define PACKAGE "conformance_cpp"
#include "../c/conformance.c"
