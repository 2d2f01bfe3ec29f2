// SPDX-License-Identifier: Apache-2.0
// Functions that every template may call.
#include "engine/text/jinja/interpreter.h"
#include "engine/text/utf8.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace kvilt::text::jinja {

namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};

std::string padded(int value, int width, char fill = '0')
{
    std::string digits = std::to_string(value);
    while (static_cast<int>(digits.size()) < width)
        digits.insert(digits.begin(), fill);
    return digits;
}

// One strftime directive in English, whatever the program's locale.
std::string datePart(char directive, const std::tm &t)
{
    const std::string_view day = kDays[static_cast<std::size_t>(t.tm_wday)];
    const std::string_view month = kMonths[static_cast<std::size_t>(t.tm_mon)];
    switch (directive) {
    case 'Y': return padded(t.tm_year + 1900, 4);
    case 'y': return padded(t.tm_year % 100, 2);
    case 'm': return padded(t.tm_mon + 1, 2);
    case 'd': return padded(t.tm_mday, 2);
    case 'e': return padded(t.tm_mday, 2, ' ');
    case 'j': return padded(t.tm_yday + 1, 3);
    case 'H': return padded(t.tm_hour, 2);
    case 'I': return padded((t.tm_hour + 11) % 12 + 1, 2);
    case 'M': return padded(t.tm_min, 2);
    case 'S': return padded(t.tm_sec, 2);
    case 'p': return t.tm_hour < 12 ? "AM" : "PM";
    case 'A': return std::string(day);
    case 'a': return std::string(day.substr(0, 3));
    case 'B': return std::string(month);
    case 'b':
    case 'h': return std::string(month.substr(0, 3));
    case 'u': return padded(t.tm_wday == 0 ? 7 : t.tm_wday, 1);
    case 'w': return padded(t.tm_wday, 1);
    case 'f': return "000000";
    case 'F': return datePart('Y', t) + "-" + datePart('m', t) + "-" + datePart('d', t);
    case 'T': return datePart('H', t) + ":" + datePart('M', t) + ":" + datePart('S', t);
    case 'D': return datePart('m', t) + "/" + datePart('d', t) + "/" + datePart('y', t);
    case 'R': return datePart('H', t) + ":" + datePart('M', t);
    case 'Z':
    case 'z': return "";
    case '%': return "%";
    default: return std::string("%") + directive;
    }
}

Value strftimeNow(Interpreter &run, const Arguments &a)
{
    const Value *format = a.find(0, "format");
    if (!format || !format->is(Value::Kind::text))
        throw TemplateError{"strftime_now() needs a format"};
    const std::time_t seconds = static_cast<std::time_t>(run.unixSeconds());
    std::tm t{};
    if (!gmtime_r(&seconds, &t))
        throw TemplateError{"strftime_now() has no valid time"};
    const std::string &s = format->bytes();
    TextBuilder out(run.budget());
    for (std::size_t i = 0; i < s.size(); ++i) {
        if (s[i] != '%' || i + 1 >= s.size()) {
            out.append(format->text(), i, i + 1);
            continue;
        }
        const bool unpadded = s[i + 1] == '-' && i + 2 < s.size();
        i += unpadded ? 2 : 1;
        std::string part = datePart(s[i], t);
        while (unpadded && part.size() > 1 && (part[0] == '0' || part[0] == ' '))
            part.erase(0, 1);
        out.literal(part);
    }
    return out.value();
}

// The reference's sandbox stops at the same length.
constexpr std::uint64_t kMaxRange = 100'000;

Value range(Interpreter &run, const Arguments &a)
{
    if (a.positional.empty() || a.positional.size() > 3)
        throw TemplateError{"range() takes one to three integers"};
    const auto at = [&](std::size_t i) { return toInteger(a.positional[i], "range()"); };
    const std::int64_t start = a.positional.size() > 1 ? at(0) : 0;
    const std::int64_t stop = a.positional.size() > 1 ? at(1) : at(0);
    const std::int64_t step = a.positional.size() > 2 ? at(2) : 1;
    if (step == 0)
        throw TemplateError{"range() has the step 0"};
    const bool empty = step > 0 ? start >= stop : start <= stop;
    const std::uint64_t span =
        step > 0 ? std::uint64_t(stop) - std::uint64_t(start) : std::uint64_t(start) - std::uint64_t(stop);
    const std::uint64_t stride = step > 0 ? std::uint64_t(step) : 0 - std::uint64_t(step);
    const std::uint64_t count = empty ? 0 : (span - 1) / stride + 1;
    if (count > kMaxRange)
        throw TemplateError{"range() would give " + std::to_string(count) +
                            " numbers, more than the 100000 that a template may have"};
    std::vector<Value> numbers;
    for (std::uint64_t i = 0; i < count; ++i)
        numbers.push_back(Value::integer(start + static_cast<std::int64_t>(i) * step));
    run.budget().step(count);
    return run.list(std::move(numbers));
}

std::vector<std::pair<std::string, Value>> attributesOf(const Arguments &a)
{
    std::vector<std::pair<std::string, Value>> attributes;
    for (const Value &positional : a.positional) {
        for (const auto &[key, value] : positional.entries())
            attributes.emplace_back(key.bytes(), value);
    }
    attributes.insert(attributes.end(), a.named.begin(), a.named.end());
    return attributes;
}

Value makeDict(Interpreter &run, const Arguments &a)
{
    std::vector<std::pair<Value, Value>> entries;
    if (!a.positional.empty() && a.positional[0].is(Value::Kind::dict))
        entries = a.positional[0].entries();
    for (const auto &[name, value] : a.named) {
        std::erase_if(entries, [&](const auto &e) { return e.first.is(Value::Kind::text) && e.first.bytes() == name; });
        entries.emplace_back(run.literal(name), value);
    }
    return Value::dict(&run.budget(), std::move(entries));
}

Value raiseException(Interpreter &run, const Arguments &a)
{
    const std::string said = a.positional.empty() ? std::string() : run.toText(a.positional[0]).bytes();
    throw TemplateError{"the template refuses: " + utf8::sanitized(said.substr(0, 500)), true};
}

// joiner(): nothing the first time it is called, the separator afterwards.
Value joiner(Interpreter &run, const Arguments &a)
{
    const Value separator = a.positional.empty() ? run.literal(", ") : a.positional[0];
    return run.function("joiner", [separator, used = false](Interpreter &r, const Arguments &) mutable {
        return std::exchange(used, true) ? separator : r.literal("");
    });
}

} // namespace

void installGlobals(Interpreter &run)
{
    const auto install = [&](const char *name, CallableObject::Function f) {
        run.setGlobal(name, run.function(name, std::move(f)));
    };
    install("range", range);
    install("namespace", [](Interpreter &r, const Arguments &a) { return r.nameSpace(attributesOf(a)); });
    install("dict", makeDict);
    install("raise_exception", raiseException);
    install("strftime_now", strftimeNow);
    install("joiner", joiner);
}

} // namespace kvilt::text::jinja
