#include "sandmill.h"

SM_PACKAGE("demo_text", "0.1.0")

static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80); }

/* Letters after the first of a word become small; bytes beyond ASCII stay as they are. */
SM_SCALAR(title_case, SM_ARG("text", "u"), "u", "Writes each word with one capital letter.")
{
    sm_bytes text = sm_read_bytes(&args[0]);
    sm_start_bytes(rows);
    for (uint32_t row = 0; row < rows; row++) {
        sm_slice s = sm_bytes_at(&text, row);
        char *to = sm_room(s.length);
        bool inside = false;
        for (uint32_t n = 0; n < s.length; n++) {
            char c = s.data[n];
            if (inside && c >= 'A' && c <= 'Z') c += 'a' - 'A';
            if (!inside && c >= 'a' && c <= 'z') c -= 'a' - 'A';
            inside = letter(c);
            to[n] = c;
        }
        sm_took(row, s.length);
    }
    return sm_finish_bytes(out, rows);
}
