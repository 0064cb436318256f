#include "sandmill.hpp"

SM_PACKAGE("NAME", "0.1.0")

SM_SCALAR(hypotenuse, SM_ARG("a", "g") SM_COMMA SM_ARG("b", "g"), "g", "The long side of a right triangle.")
{
    sandmill::values<double> a(args[0]), b(args[1]);
    return sandmill::compute<double>(rows, out, [&](uint32_t row) { return __builtin_sqrt(a[row] * a[row] + b[row] * b[row]); });
}
