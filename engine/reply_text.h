// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"
#include "engine/text/tokenizer.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace kvilt {

// The text of a reply as it grows: decodes tokens, looks for stop strings and holds back what may still become one.
// A token is released once all of its text is; tokens that begin at or after a stop string's first byte never are.
class ReplyText {
public:
    ReplyText(std::shared_ptr<const text::Tokenizer> tokenizer, std::vector<std::string> stops);

    bool push(TokenId id); // true: a stop string is complete, no more tokens
    void finish();         // nothing follows: everything held back is released

    std::string takeText();
    std::size_t takeTokens(); // how many more tokens, counted from the first, are released now

private:
    bool append(const std::string &piece);
    std::size_t heldBack() const; // bytes at the end that begin a stop string

    text::StreamDecoder m_decoder;
    std::vector<std::string> m_stops;
    std::string m_text;                    // all of it, up to the stop string
    std::size_t m_taken = 0;               // bytes handed out
    std::size_t m_safe = 0;                // bytes that may be
    std::vector<std::size_t> m_begins, m_ends; // of each token, in m_text
    std::size_t m_tokensTaken = 0;
    bool m_stopped = false, m_finished = false;
};

} // namespace kvilt
