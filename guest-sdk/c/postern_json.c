/* JSON where it lies (RFC 8259). See postern.h. */
#include "postern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 64,
    /* A number that is read may have as many digits. */
    NUMBER_BYTES_MAX = 63,
};

static const char *scan(const char *at, const char *end, int depth);

static const char *skip(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of `\u` as a number, or -1. */
static int32_t unit(const char *at, const char *end) {
    if (end - at < 4)
        return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex(at[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* How many octets the UTF-8 character at `at` has; 0 where there is none. */
static size_t utf8_length(const char *at, const char *end) {
    const unsigned char *c = (const unsigned char *)at;
    size_t length = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : c[0] < 0xf5 ? 4 : 0;
    if (length == 0 || (size_t)(end - at) < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    bool is_overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    bool is_beyond = (c[0] == 0xed && c[1] > 0x9f) || (c[0] == 0xf4 && c[1] > 0x8f);
    return is_overlong || is_beyond ? 0 : length;
}

/* `scan_*` give the end of what begins at `at`, or NULL where nothing of that kind does. */
static const char *scan_string(const char *at, const char *end) {
    if (at == end || *at++ != '"')
        return NULL;
    for (; at < end; at++) {
        if (*at == '"')
            return at + 1;
        size_t length = (unsigned char)*at < 0x20 ? 0 : utf8_length(at, end);
        if (length == 0)
            return NULL;
        if (*at != '\\') {
            at += length - 1;
            continue;
        }
        if (++at == end)
            return NULL;
        if (*at == 'u') {
            if (unit(at + 1, end) < 0)
                return NULL;
            at += 4;
        } else if (memchr("\"\\/bfnrt", *at, 8) == NULL) {
            return NULL;
        }
    }
    return NULL;
}

static const char *scan_digits(const char *at, const char *end) {
    const char *from = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at == from ? NULL : at;
}

static const char *scan_number(const char *at, const char *end) {
    if (at < end && *at == '-')
        at++;
    if (at < end && *at == '0')
        at++;
    else if ((at = scan_digits(at, end)) == NULL)
        return NULL;
    if (at < end && *at == '.' && (at = scan_digits(at + 1, end)) == NULL)
        return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        at = scan_digits(at, end);
    }
    return at;
}

static const char *scan_word(const char *at, const char *end, const char *word) {
    size_t length = strlen(word);
    return (size_t)(end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

/* After an item: past the comma, with `*last` unset, or past the bracket that closes. */
static const char *scan_comma(const char *at, const char *end, char close, bool *last) {
    at = skip(at, end);
    if (at == end || (*at != ',' && *at != close))
        return NULL;
    *last = *at == close;
    return skip(at + 1, end);
}

/* Past the key and the colon of an object's entry. */
static const char *scan_key(const char *at, const char *end) {
    at = scan_string(at, end);
    if (at == NULL)
        return NULL;
    at = skip(at, end);
    return at < end && *at == ':' ? skip(at + 1, end) : NULL;
}

static const char *scan_items(const char *at, const char *end, int depth, char close) {
    at = skip(at + 1, end);
    if (at < end && *at == close)
        return at + 1;
    for (bool last = false; !last;) {
        if (close == '}' && (at = scan_key(at, end)) == NULL)
            return NULL;
        at = scan(at, end, depth + 1);
        if (at == NULL)
            return NULL;
        const char *after = skip(at, end);
        at = scan_comma(at, end, close, &last);
        if (at == NULL)
            return NULL;
        if (last)
            return after + 1;
    }
    return NULL;
}

static const char *scan(const char *at, const char *end, int depth) {
    if (at == end || (depth >= DEPTH_MAX && (*at == '{' || *at == '[')))
        return NULL;
    switch (*at) {
    case '{':
        return scan_items(at, end, depth, '}');
    case '[':
        return scan_items(at, end, depth, ']');
    case '"':
        return scan_string(at, end);
    case 't':
        return scan_word(at, end, "true");
    case 'f':
        return scan_word(at, end, "false");
    case 'n':
        return scan_word(at, end, "null");
    default:
        return scan_number(at, end);
    }
}

/* The value itself, without blanks around it. */
static postern_slice trimmed(postern_slice json) {
    const char *end = json.at + json.length, *at = skip(json.at, end);
    while (end > at && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n' || end[-1] == '\r'))
        end--;
    return (postern_slice){at, (size_t)(end - at)};
}

bool postern_json_valid(postern_slice json) {
    const char *end = json.at + json.length;
    const char *after = scan(skip(json.at, end), end, 0);
    return after != NULL && skip(after, end) == end;
}

bool postern_json_get(postern_slice object, const char *key, postern_slice *value) {
    const char *end = object.at + object.length, *at = skip(object.at, end);
    bool found = false;
    if (at == end || *at != '{')
        return false;
    at = skip(at + 1, end);
    if (at < end && *at == '}')
        return false;
    for (bool last = false; !last;) {
        const char *name = at, *begin = scan_key(at, end);
        if (begin == NULL || (at = scan(begin, end, 1)) == NULL)
            return false;
        postern_slice text;
        /* The last of equal keys counts. */
        if (postern_json_string((postern_slice){name, (size_t)(scan_string(name, end) - name)}, &text) &&
            postern_equals(text, key)) {
            *value = (postern_slice){begin, (size_t)(at - begin)};
            found = true;
        }
        at = scan_comma(at, end, '}', &last);
        if (at == NULL)
            return false;
    }
    return found;
}

bool postern_json_next(postern_slice array, size_t *cursor, postern_slice *item) {
    const char *end = array.at + array.length, *at = array.at + *cursor;
    if (*cursor == 0) {
        at = skip(at, end);
        if (at == end || *at != '[')
            return false;
        at = skip(at + 1, end);
        if (at < end && *at == ']')
            return false;
    }
    const char *after = at == end ? NULL : scan(at, end, 1);
    if (after == NULL)
        return false;
    *item = (postern_slice){at, (size_t)(after - at)};
    bool last;
    after = scan_comma(after, end, ']', &last);
    /* After the last item the cursor stands at the end, where no value begins. */
    *cursor = after == NULL || last ? array.length : (size_t)(after - array.at);
    return true;
}

static char *put_utf8(char *to, uint32_t c) {
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* The character of `\uXXXX`, whose digits begin at `*at`; half a surrogate pair is U+FFFD. */
static uint32_t take_escaped(const char **at, const char *end) {
    int32_t high = unit(*at, end);
    *at += 4;
    if (high < 0xd800 || high > 0xdfff)
        return (uint32_t)high;
    if (high > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return 0xfffd;
    int32_t low = unit(*at + 2, end);
    if (low < 0xdc00 || low > 0xdfff)
        return 0xfffd;
    *at += 6;
    return 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
}

bool postern_json_string(postern_slice value, postern_slice *text) {
    postern_slice json = trimmed(value);
    const char *end = json.at + json.length;
    if (json.length < 2 || scan_string(json.at, end) != end)
        return false;
    const char *at = json.at + 1, *last = end - 1;
    if (memchr(at, '\\', (size_t)(last - at)) == NULL) {
        *text = (postern_slice){at, (size_t)(last - at)};
        return true;
    }
    char *begin = postern_alloc(json.length), *to = begin;
    static const char named[] = "b\bf\fn\nr\rt\t";
    while (at < last) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        char c = at[1];
        at += 2;
        if (c == 'u') {
            to = put_utf8(to, take_escaped(&at, last));
            continue;
        }
        for (size_t i = 0; i + 1 < sizeof named; i += 2)
            if (c == named[i]) {
                c = named[i + 1];
                break;
            }
        *to++ = c;
    }
    *to = 0;
    *text = (postern_slice){begin, (size_t)(to - begin)};
    return true;
}

/* A number as a C string. */
static bool number_text(postern_slice value, char text[NUMBER_BYTES_MAX + 1]) {
    postern_slice json = trimmed(value);
    const char *end = json.at + json.length;
    if (json.length == 0 || json.length > NUMBER_BYTES_MAX || scan_number(json.at, end) != end)
        return false;
    memcpy(text, json.at, json.length);
    text[json.length] = 0;
    return true;
}

bool postern_json_int(postern_slice value, int64_t *number) {
    char text[NUMBER_BYTES_MAX + 1];
    if (!number_text(value, text) || strpbrk(text, ".eE") != NULL)
        return false;
    errno = 0;
    *number = strtoll(text, NULL, 10);
    return errno == 0;
}

bool postern_json_double(postern_slice value, double *number) {
    char text[NUMBER_BYTES_MAX + 1];
    if (!number_text(value, text))
        return false;
    *number = strtod(text, NULL);
    return true;
}

bool postern_json_bool(postern_slice value, bool *flag) {
    *flag = postern_equals(trimmed(value), "true");
    return *flag || postern_equals(trimmed(value), "false");
}

bool postern_json_is_null(postern_slice value) {
    return postern_equals(trimmed(value), "null");
}

static bool begins(postern_slice value, char c) {
    postern_slice json = trimmed(value);
    return json.length > 0 && json.at[0] == c;
}

bool postern_json_is_array(postern_slice value) {
    return begins(value, '[');
}

bool postern_json_is_object(postern_slice value) {
    return begins(value, '{');
}

postern_slice postern_utf8(postern_slice text) {
    const char *at = text.at, *end = text.at + text.length;
    size_t length = 1;
    if (text.length == 0)
        return text;
    while (at < end && (length = utf8_length(at, end)) > 0)
        at += length;
    if (length > 0)
        return text;
    /* An octet becomes at most three. */
    size_t valid = (size_t)(at - text.at);
    char *begin = postern_alloc(valid + (text.length - valid) * 3 + 1), *to = begin + valid;
    memcpy(begin, text.at, valid);
    while (at < end) {
        length = utf8_length(at, end);
        if (length == 0) {
            to = put_utf8(to, 0xfffd);
            at++;
        }
        for (; length > 0; length--)
            *to++ = *at++;
    }
    *to = 0;
    return (postern_slice){begin, (size_t)(to - begin)};
}

postern_fields postern_utf8_fields_(const postern_field *fields, size_t n_fields) {
    postern_field *valid = NULL;
    for (size_t i = 0; i < n_fields; i++) {
        postern_field field = {postern_utf8(fields[i].name), postern_utf8(fields[i].value)};
        if (field.name.at == fields[i].name.at && field.value.at == fields[i].value.at)
            continue;
        if (valid == NULL) {
            valid = postern_alloc(n_fields * sizeof *valid);
            memcpy(valid, fields, n_fields * sizeof *valid);
        }
        valid[i] = field;
    }
    return (postern_fields){valid == NULL ? fields : valid, n_fields};
}

postern_slice postern_json_quote(postern_slice text) {
    static const char digits[] = "0123456789abcdef";
    const char *at = text.at, *end = text.at + text.length;
    /* An octet becomes at most six. */
    char *begin = postern_alloc(text.length * 6 + 3), *to = begin;
    *to++ = '"';
    while (at < end) {
        size_t length = utf8_length(at, end);
        if (length == 0) {
            to = put_utf8(to, 0xfffd);
            at++;
        } else if (*at == '"' || *at == '\\') {
            *to++ = '\\';
            *to++ = *at++;
        } else if ((unsigned char)*at < 0x20) {
            memcpy(to, "\\u00", 4);
            to[4] = digits[*at >> 4];
            to[5] = digits[*at & 15];
            to += 6;
            at++;
        } else {
            memcpy(to, at, length);
            to += length;
            at += length;
        }
    }
    *to++ = '"';
    *to = 0;
    return (postern_slice){begin, (size_t)(to - begin)};
}
