// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/icons.h"

#include <QColor>
#include <QFile>
#include <QIconEngine>
#include <QPainter>
#include <QPixmapCache>
#include <QSvgRenderer>

#include <cmath>

// The resources lie in a static library: without this call the linker drops them. The macro wants no namespace.
static void loadResources()
{
    static const bool loaded = [] {
        Q_INIT_RESOURCE(kvilt);
        return true;
    }();
    Q_UNUSED(loaded)
}

namespace kvilt::ui {

namespace {

QByteArray svgInColour(const QString &name, const QColor &colour)
{
    loadResources();
    QFile file(QStringLiteral(":/icons/%1.svg").arg(name));
    if (!file.open(QIODevice::ReadOnly))
        return {};
    return file.readAll().replace("currentColor", colour.name().toLatin1());
}

// Renders when asked for, at the device's ratio; a disabled icon is the same drawing at 40 %.
class SvgIconEngine : public QIconEngine {
public:
    SvgIconEngine(QString name, QColor colour) : m_name(std::move(name)), m_colour(std::move(colour)) {}
    void paint(QPainter *painter, const QRect &rect, QIcon::Mode mode, QIcon::State) override
    {
        const QPixmap pixmap = iconPixmap(m_name, m_colour, std::min(rect.width(), rect.height()),
                                          painter->device()->devicePixelRatioF());
        if (mode == QIcon::Disabled)
            painter->setOpacity(painter->opacity() * 0.4);
        const QSizeF size = pixmap.deviceIndependentSize();
        painter->drawPixmap(QPointF(rect.x() + (rect.width() - size.width()) / 2,
                                    rect.y() + (rect.height() - size.height()) / 2), pixmap);
    }
    QPixmap pixmap(const QSize &size, QIcon::Mode mode, QIcon::State state) override
    {
        QPixmap result(size);
        result.fill(Qt::transparent);
        QPainter painter(&result);
        paint(&painter, QRect(QPoint(0, 0), size), mode, state);
        return result;
    }
    QIconEngine *clone() const override { return new SvgIconEngine(m_name, m_colour); }

private:
    QString m_name;
    QColor m_colour;
};

} // namespace

QPixmap iconPixmap(const QString &name, const QColor &colour, int size, qreal ratio)
{
    const QString key = QStringLiteral("kvilt/%1/%2/%3/%4").arg(name, colour.name()).arg(size).arg(ratio);
    QPixmap pixmap;
    if (QPixmapCache::find(key, &pixmap))
        return pixmap;
    const int pixels = int(std::ceil(size * ratio));
    pixmap = QPixmap(pixels, pixels);
    pixmap.fill(Qt::transparent);
    if (const QByteArray svg = svgInColour(name, colour); !svg.isEmpty()) {
        QSvgRenderer renderer(svg);
        QPainter painter(&pixmap);
        renderer.render(&painter, QRectF(0, 0, pixels, pixels));
    }
    pixmap.setDevicePixelRatio(ratio);
    QPixmapCache::insert(key, pixmap);
    return pixmap;
}

QIcon icon(const QString &name, const QColor &colour)
{
    loadResources();
    if (!QFile::exists(QStringLiteral(":/icons/%1.svg").arg(name)))
        return {};
    return QIcon(new SvgIconEngine(name, colour));
}

} // namespace kvilt::ui
