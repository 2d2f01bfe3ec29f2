// SPDX-License-Identifier: Apache-2.0
#include "engine/reply_text.h"

#include <algorithm>

namespace kvilt {

ReplyText::ReplyText(std::shared_ptr<const text::Tokenizer> tokenizer, std::vector<std::string> stops)
    : m_decoder(std::move(tokenizer)), m_stops(std::move(stops))
{
}

bool ReplyText::push(TokenId id)
{
    m_begins.push_back(m_text.size());
    const bool stopped = append(m_decoder.push(id));
    m_ends.push_back(m_text.size());
    return stopped;
}

bool ReplyText::append(const std::string &piece)
{
    if (piece.empty() || m_stopped)
        return m_stopped;
    // A stop string may have begun before this piece, but nothing before the bytes held back can be part of it.
    const std::size_t from = m_safe;
    m_text += piece;
    std::size_t cut = std::string::npos;
    for (const std::string &stop : m_stops)
        cut = std::min(cut, m_text.find(stop, from));
    m_stopped = cut != std::string::npos;
    if (m_stopped)
        m_text.resize(cut);
    m_safe = m_stopped ? m_text.size() : m_text.size() - heldBack();
    return m_stopped;
}

std::size_t ReplyText::heldBack() const
{
    std::size_t longest = 0;
    for (const std::string &stop : m_stops) {
        std::size_t n = std::min(stop.size() - 1, m_text.size());
        while (n > longest && m_text.compare(m_text.size() - n, n, stop, 0, n) != 0)
            --n;
        longest = std::max(longest, n);
    }
    return longest;
}

void ReplyText::finish()
{
    if (!m_stopped)
        append(m_decoder.finish());
    if (!m_ends.empty())
        m_ends.back() = std::max(m_ends.back(), m_text.size());
    m_safe = m_text.size();
    m_finished = true;
}

std::string ReplyText::takeText()
{
    std::string out = m_text.substr(m_taken, m_safe - m_taken);
    m_taken = m_safe;
    return out;
}

std::size_t ReplyText::takeTokens()
{
    const std::size_t before = m_tokensTaken;
    while (m_tokensTaken < m_begins.size()) {
        const bool whole = m_ends[m_tokensTaken] <= m_safe;
        const bool inText = !m_stopped || m_begins[m_tokensTaken] < m_text.size();
        if (!inText || !(whole || m_finished))
            break;
        ++m_tokensTaken;
    }
    return m_tokensTaken - before;
}

} // namespace kvilt
