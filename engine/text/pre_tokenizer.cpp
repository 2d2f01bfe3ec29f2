// SPDX-License-Identifier: Apache-2.0
#include "engine/text/pre_tokenizer.h"

#include "engine/text/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <initializer_list>
#include <string>

namespace kvilt::text {

namespace {

// Unicode's White_Space; PCRE2's own \s under UCP also takes U+180E.
#define WS R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})"
#define SPACES_END R"((?:[)" WS R"(]+(?![^)" WS R"(])))"
// The last alternatives of the cl100k kind: a line end with what stands before it, then spaces but the last.
#define LINES_THEN_SPACES R"([)" WS R"(]*[\r\n]+|)" SPACES_END R"(|[)" WS R"(]+)"
#define CONTRACTIONS_ANY_CASE R"('(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))"
#define WORD R"([^\r\n\p{L}\p{N}]?\p{L}+)"
#define SYMBOLS R"( ?[^)" WS R"(\p{L}\p{N}]+)"

constexpr const char *kGpt2 = R"('(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+|)" SYMBOLS "|" SPACES_END;
constexpr const char *kSingleDigits = R"(\p{N})";
constexpr const char *kLlama3 =
    CONTRACTIONS_ANY_CASE "|" WORD R"(|\p{N}{1,3}|)" SYMBOLS R"([\r\n]*|)" LINES_THEN_SPACES;
constexpr const char *kQwen2 = CONTRACTIONS_ANY_CASE "|" WORD R"(|\p{N}|)" SYMBOLS R"([\r\n]*|)" LINES_THEN_SPACES;
constexpr const char *kQwen35 = CONTRACTIONS_ANY_CASE R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^)" WS
                                                      R"(\p{L}\p{M}\p{N}]+[\r\n]*|)" LINES_THEN_SPACES;
constexpr const char *kSeedCoder = CONTRACTIONS_ANY_CASE "|" WORD R"(|\p{N}|)" SYMBOLS "|" LINES_THEN_SPACES;

// A word of the o200k kind may carry one change from capitals to small letters.
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define LEAD R"([^\r\n\p{L}\p{N}]?)"
constexpr const char *kGpt4o =
    LEAD UPPER "*" LOWER "+(?:" CONTRACTIONS_ANY_CASE ")?|" LEAD UPPER "+" LOWER "*(?:" CONTRACTIONS_ANY_CASE
               R"()?|\p{N}{1,3}|)" SYMBOLS R"([\r\n/]*|)" LINES_THEN_SPACES;
// Kimi K2: o200k's words, and Han apart from them. From the model's own tokenizer: llama.cpp's version does not cut where
// small letters turn to capitals.
#define NO_HAN R"((?!\p{Han}))"
#define UPPER_NO_HAN "(?:" NO_HAN UPPER ")"
#define LOWER_NO_HAN "(?:" NO_HAN LOWER ")"
constexpr const char *kKimi2 =
    R"(\p{Han}+|)" LEAD UPPER_NO_HAN "*" LOWER_NO_HAN "+(?:" CONTRACTIONS_ANY_CASE ")?|" LEAD UPPER_NO_HAN
    "+" LOWER_NO_HAN "*(?:" CONTRACTIONS_ANY_CASE R"()?|\p{N}{1,3}|)" SYMBOLS R"([\r\n]*|)" LINES_THEN_SPACES;
constexpr const char *kTekken =
    LEAD UPPER "*" LOWER "+|" LEAD UPPER "+" LOWER R"(*|\p{N}|)" SYMBOLS R"([\r\n/]*|)" LINES_THEN_SPACES;
constexpr const char *kLineEnds = R"([\r\n])";
// Han, Kana and Hangul as the DeepSeek vocabularies cut them.
constexpr const char *kEastAsian = R"([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
constexpr const char *kHanKana = R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr const char *kCasedWord = R"([)" WS R"(]?[\p{Lu}\p{Ll}\p{Lt}]+)";
constexpr const char *kDeepSeekPunctuation =
    R"([)" WS R"(]?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";
constexpr const char *kTrailingSpaces = R"([)" WS R"(]+$)";
constexpr const char *kDeepSeek3 =
    R"([!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)" LINES_THEN_SPACES;
constexpr const char *kPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr const char *kFalconPunctuation = R"([\p{P}\$\+<=>\^~\|`]+)";
constexpr const char *kThreeDigits = R"([0-9][0-9][0-9])";
// Bloom: all but white space and sentence marks, Arabic, Devanagari and full-width ones included.
constexpr const char *kBloom = R"( ?[^()" WS R"(|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{0964}\x{06D4}\x{060C})]+)";
constexpr const char *kDigitTriplesFromRight = ""; // written as code: see Expression

struct Family {
    std::initializer_list<std::string_view> names;
    std::initializer_list<const char *> expressions;
    bool takesWholeWords = false;
    bool addsBos = false;
};

const Family kFamilies[] = {
    {{"", "default"}, {kPunctuation, kGpt2, R"(\p{N}+)", kThreeDigits}},
    {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
      "jina-v5-nano"},
      {kLlama3}, true, true},
    {{"dbrx", "smaug-bpe", "chatglm-bpe", "glm4", "glm5"}, {kLlama3}},
    {{"deepseek-llm"}, {kLineEnds, kCasedWord, kDeepSeekPunctuation, kTrailingSpaces, kEastAsian, R"(\p{N}+)"}},
    {{"deepseek-coder"}, {kLineEnds, R"([)" WS R"(]?\p{L}+)", R"([)" WS R"(]?\p{P}+)", kEastAsian, kSingleDigits}},
    {{"deepseek-v3", "hunyuan-dense", "joyai-llm"}, {R"(\p{N}{1,3})", kHanKana, kDeepSeek3}},
    {{"falcon"}, {kFalconPunctuation, kGpt2, kThreeDigits}},
    {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"}, {kSingleDigits, kGpt2}},
    {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "gigachat", "jina-es",
      "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code", "roberta-bpe", "a.x-4.0", "mellum",
      "modern-bert"},
     {kGpt2}},
    {{"qwen2", "stablelm2", "deepseek-r1-qwen", "megrez", "hunyuan", "kormo", "solar-open", "bailingmoe", "llada-moe",
      "bailingmoe2", "grok-2", "f2llmv2"},
     {kQwen2}},
    {{"qwen35"}, {kQwen35}},
    {{"seed-coder"}, {kSeedCoder}},
    {{"bloom", "gpt3-finnish", "poro-chat"}, {kBloom}},
    {{"viking"}, {kBloom, kSingleDigits}},
    {{"tekken"}, {kTekken}, true, true},
    {{"gpt-4o", "llama4", "minimax-m2", "kanana2", "talkie"}, {kGpt4o}},
    {{"kimi-k2"}, {kKimi2}},
    {{"superbpe"}, {R"(\p{N}+)", kDigitTriplesFromRight}},
    {{"chameleon"},
     {R"(<sentinel:[0-9]+>)", R"((?:IMGIMG(?:A|B|C|D|E|F|G|H|I){1,4}Z))", R"([\t\n]|    |  )", kSingleDigits,
      R"([\p{P}!-/:-@\[-`{-~])", kGpt2},
     false,
     true},
};

const Family *findFamily(std::string_view name)
{
    for (const Family &family : kFamilies) {
        if (std::find(family.names.begin(), family.names.end(), name) != family.names.end())
            return &family;
    }
    return nullptr;
}

} // namespace

struct PreTokenizer::Expression {
    pcre2_code *code = nullptr; // null: cut digits in threes, counted from the right (a look-ahead would be quadratic)
    Expression() = default;
    Expression(const Expression &) = delete;
    Expression &operator=(const Expression &) = delete;
    ~Expression() { pcre2_code_free(code); }
};

Result<PreTokenizer> PreTokenizer::create(std::string_view name)
{
    const Family *family = findFamily(name);
    if (!family)
        return fail(ErrorCode::unsupported,
                    "The pre-tokenizer is \"" + utf8::sanitized(name.substr(0, 40)) +
                        "\", which this version does not know; other word boundaries would give wrong tokens.");
    PreTokenizer made;
    made.m_takesWholeWords = family->takesWholeWords;
    made.m_addsBos = family->addsBos;
    for (const char *pattern : family->expressions) {
        auto expression = std::make_shared<Expression>();
        if (*pattern) {
            int error = 0;
            PCRE2_SIZE at = 0;
            expression->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                                             PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &error, &at, nullptr);
            if (!expression->code)
                return fail(ErrorCode::outOfMemory, "The word expression of \"" + std::string(name) +
                                                        "\" could not be compiled: PCRE2 error " +
                                                        std::to_string(error) + ".");
            // Without executable memory this fails, and matching goes on by interpretation.
            pcre2_jit_compile(expression->code, PCRE2_JIT_COMPLETE);
        }
        made.m_expressions.push_back(std::move(expression));
    }
    return made;
}

namespace {

struct MatchState {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    MatchState()
        : data(pcre2_match_data_create(1, nullptr)), context(pcre2_match_context_create(nullptr)),
          stack(pcre2_jit_stack_create(32 << 10, 8 << 20, nullptr))
    {
        if (context) {
            pcre2_set_match_limit(context, 100'000'000);
            pcre2_set_heap_limit(context, 64 << 10); // KiB
            pcre2_jit_stack_assign(context, nullptr, stack);
        }
    }
    ~MatchState()
    {
        pcre2_match_data_free(data);
        pcre2_match_context_free(context);
        pcre2_jit_stack_free(stack);
    }
    MatchState(const MatchState &) = delete;
    MatchState &operator=(const MatchState &) = delete;
};

} // namespace

Result<void> PreTokenizer::split(std::string_view text, const WordSink &word) const
{
    MatchState state;
    if (!state.data || !state.context)
        return fail(ErrorCode::outOfMemory, "There is not enough memory to cut the text into words.");
    return splitFrom(0, text, 0, &state, word);
}

Result<void> PreTokenizer::splitFrom(std::size_t stage, std::string_view text, std::uint32_t offset, void *matchState,
                                     const WordSink &word) const
{
    if (text.empty())
        return {};
    if (stage == m_expressions.size()) {
        word(offset, offset + static_cast<std::uint32_t>(text.size()));
        return {};
    }
    const auto pass = [&](std::size_t begin, std::size_t end) {
        return splitFrom(stage + 1, text.substr(begin, end - begin), offset + static_cast<std::uint32_t>(begin),
                         matchState, word);
    };
    const Expression &expression = *m_expressions[stage];
    if (!expression.code) {
        std::size_t at = 0;
        if (text.find_first_not_of("0123456789") == std::string_view::npos) {
            for (std::size_t end = (text.size() - 1) % 3 + 1; end < text.size(); at = end, end += 3)
                KVILT_TRY_VOID(pass(at, end));
        }
        return pass(at, text.size());
    }
    auto &state = *static_cast<MatchState *>(matchState);
    std::size_t done = 0;
    for (std::size_t at = 0; at < text.size();) {
        const int found = pcre2_match(expression.code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                      PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, state.data, state.context);
        if (found == PCRE2_ERROR_NOMATCH)
            break;
        if (found < 0)
            return fail(ErrorCode::badInput, "The text could not be cut into words within the limits (PCRE2 error " +
                                                 std::to_string(found) + ").");
        // Copied, because the next stage matches into the same ovector.
        const std::size_t begin = pcre2_get_ovector_pointer(state.data)[0];
        const std::size_t end = pcre2_get_ovector_pointer(state.data)[1];
        if (begin > done)
            KVILT_TRY_VOID(pass(done, begin));
        KVILT_TRY_VOID(pass(begin, end));
        at = done = end;
    }
    return done < text.size() ? pass(done, text.size()) : Result<void>{};
}

} // namespace kvilt::text
