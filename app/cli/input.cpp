// SPDX-License-Identifier: Apache-2.0
#include "app/cli/input.h"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sys/stat.h>

namespace kvilt::cli {

namespace {

using FilePtr = std::unique_ptr<std::FILE, int (*)(std::FILE *)>;

Error refuse(const std::string &path, const std::string &why)
{
    return {ErrorCode::badInput, "cannot read " + path + ": " + why};
}

Result<FilePtr> openForReading(const std::string &path)
{
    if (path == "-")
        return FilePtr(stdin, [](std::FILE *) { return 0; });
    struct stat info {};
    if (stat(path.c_str(), &info) != 0)
        return tl::unexpected(refuse(path, std::strerror(errno)));
    if (S_ISDIR(info.st_mode))
        return tl::unexpected(refuse(path, "it is a folder"));
    FilePtr file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (!file)
        return tl::unexpected(refuse(path, std::strerror(errno)));
    return file;
}

} // namespace

Result<std::string> readFile(const std::string &path)
{
    KVILT_TRY(const FilePtr file, openForReading(path));
    std::string text;
    char buffer[65536];
    while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, file.get())) {
        if (text.size() + n > kMaxInputBytes)
            return tl::unexpected(refuse(path, "it is larger than 256 MiB"));
        text.append(buffer, n);
    }
    if (std::ferror(file.get()))
        return tl::unexpected(refuse(path, std::strerror(errno)));
    return text;
}

Result<nlohmann::json> readJson(const std::string &path)
{
    KVILT_TRY(const std::string text, readFile(path));
    // Depth is bounded before parsing: nlohmann's destructor and ours would recurse as deep as the file says.
    int depth = 0;
    bool inString = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (inString) {
            i += c == '\\' ? 1 : 0;
            inString = c != '"';
        } else if (c == '"') {
            inString = true;
        } else if (c == '[' || c == '{') {
            if (++depth > 200)
                return fail(ErrorCode::badInput, path + " is nested more than 200 levels deep");
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
    nlohmann::json document = nlohmann::json::parse(text, nullptr, false);
    if (document.is_discarded())
        return fail(ErrorCode::badInput, path + " is not valid JSON");
    return document;
}

Result<std::vector<TokenId>> tokensFrom(const nlohmann::json &array, std::uint32_t vocabulary,
                                        const std::string &where)
{
    if (!array.is_array())
        return fail(ErrorCode::badInput, where + " must be a JSON array of token ids");
    std::vector<TokenId> tokens;
    tokens.reserve(array.size());
    for (const nlohmann::json &value : array) {
        const bool inRange = value.is_number_integer() && value.get<double>() >= 0 &&
                             value.get<double>() < double(vocabulary);
        if (!inRange)
            return fail(ErrorCode::badInput, where + ": " + value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 40) +
                                                 " is no token id; the vocabulary has ids 0 to " +
                                                 std::to_string(std::int64_t(vocabulary) - 1));
        tokens.push_back(value.get<TokenId>());
    }
    return tokens;
}

Result<std::vector<TokenId>> readTokens(const std::string &path, std::uint32_t vocabulary)
{
    KVILT_TRY(const nlohmann::json document, readJson(path));
    return tokensFrom(document, vocabulary, path);
}

Result<std::vector<std::int64_t>> numberList(std::string_view text, std::int64_t low, std::int64_t high,
                                             const std::string &option)
{
    std::vector<std::int64_t> out;
    const char *at = text.data(), *end = text.data() + text.size();
    while (true) {
        std::int64_t value = 0;
        const auto [next, error] = std::from_chars(at, end, value);
        if (error != std::errc() || value < low || value > high || (next != end && *next != ','))
            return fail(ErrorCode::badInput, option + " takes whole numbers from " + std::to_string(low) + " to " +
                                                 std::to_string(high) + " separated by commas, not \"" +
                                                 std::string(text) + "\"");
        out.push_back(value);
        if (next == end)
            return out;
        at = next + 1;
    }
}

} // namespace kvilt::cli
