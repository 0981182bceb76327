"""The words that an export adds to a text, and how its language is written."""

import re
from typing import NamedTuple

CONTENTS_FROM = 4
"""Sections: a shorter article has no list of contents."""
RUNNING_HEAD = 70
"""Characters of the title at the head of a page: one line."""

# ISO 639 codes of languages written from right to left, and scripts (ISO 15924) that override them.
_RTL_LANGUAGES = frozenset({"ar", "arc", "ckb", "dv", "fa", "he", "ks", "ps", "sd", "ug", "ur", "yi"})
_RTL_SCRIPTS = frozenset({"arab", "hebr", "syrc", "thaa"})
_LANGUAGE = re.compile(r"[a-z]{2,3}")


class Language(NamedTuple):
    """A language as typesetters want it: ISO 639 code, region (ISO 3166) if the tag names one, direction."""

    code: str
    region: str | None
    rtl: bool

    @property
    def tag(self) -> str:
        """As BCP 47 writes it: `pt-BR`."""
        return f"{self.code}-{self.region}" if self.region else self.code

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`, for HTML and Typst."""
        return "rtl" if self.rtl else "ltr"


class Labels(NamedTuple):
    """The words of one language."""

    language: Language
    contents: str
    references: str
    simulated: str
    """Above a text of the simulator, and who made it."""
    simulator: str
    unreadable: str
    """Above a PDF whose fonts do not have all characters."""

    @property
    def note(self) -> str:
        """All that is said of a simulated text."""
        return f"{self.simulated} {self.simulator}"


def language(tag: str) -> Language:
    """The parts of a BCP 47 tag. What is no language is taken for English."""
    code, *rest = tag.lower().replace("_", "-").split("-")
    if not _LANGUAGE.fullmatch(code):
        return Language("en", None, False)
    region = next((part for part in rest if len(part) == 2 and part.isascii() and part.isalpha()), None)
    script = next((part for part in rest if len(part) == 4 and part.isalpha()), None)
    rtl = script in _RTL_SCRIPTS if script else code in _RTL_LANGUAGES
    return Language(code, region.upper() if region else None, rtl)


def labels(tag: str) -> Labels:
    """The words for a text in this language; the English ones where we have none."""
    code = language(tag).code
    code = _SAME.get(code, code)
    if code not in _WORDS or (code == "zh" and _TRADITIONAL.search(tag.lower())):
        code = "en"
    return Labels(language(code), *_WORDS[code])


def running_head(title: str) -> str:
    """A title on one line as it stands at the head of a page, cut at a word if there is one to cut at."""
    if len(title) <= RUNNING_HEAD:
        return title
    half, cut = RUNNING_HEAD // 2, title[: RUNNING_HEAD - 1]
    cut = title[:RUNNING_HEAD].rsplit(" ", 1)[0] if " " in title[half:RUNNING_HEAD] else cut
    return cut.rstrip(" ,;:.–—-") + "…"


# Norwegian has two written forms and a code for both; the words are Bokmål. Ours for Chinese are simplified.
_SAME = {"no": "nb", "nn": "nb"}
_TRADITIONAL = re.compile("hant|[-_](?:tw|hk|mo)")
_WORDS = {
    "en": (
        "Contents",
        "References",
        "Simulated text.",
        "Made by Atelier’s simulator, not by a language model.",
        "Some characters of this text are missing from the fonts of this PDF and show as boxes. The other exports are "
        "complete.",
    ),
    "de": (
        "Inhaltsverzeichnis",
        "Quellen",
        "Simulierter Text.",
        "Vom Simulator von Atelier erzeugt, nicht von einem Sprachmodell.",
        "Einige Zeichen dieses Textes fehlen in den Schriften dieser PDF-Datei und erscheinen als Kästchen. Die "
        "anderen Exporte sind vollständig.",
    ),
    "fr": (
        "Table des matières",
        "Références",
        "Texte simulé.",
        "Produit par le simulateur d’Atelier, et non par un modèle de langage.",
        "Certains caractères de ce texte manquent dans les polices de ce PDF et apparaissent comme des cases. Les "
        "autres exportations sont complètes.",
    ),
    "es": (
        "Índice",
        "Referencias",
        "Texto simulado.",
        "Hecho por el simulador de Atelier, no por un modelo de lenguaje.",
        "Algunos caracteres de este texto faltan en las fuentes de este PDF y se muestran como recuadros. Las demás "
        "exportaciones están completas.",
    ),
    "it": (
        "Indice",
        "Riferimenti",
        "Testo simulato.",
        "Prodotto dal simulatore di Atelier, non da un modello linguistico.",
        "Alcuni caratteri di questo testo mancano nei font di questo PDF e appaiono come riquadri. Le altre "
        "esportazioni sono complete.",
    ),
    "pt": (
        "Índice",
        "Referências",
        "Texto simulado.",
        "Feito pelo simulador do Atelier, não por um modelo de linguagem.",
        "Alguns caracteres deste texto não existem nas fontes deste PDF e aparecem como caixas. As outras exportações "
        "estão completas.",
    ),
    "nl": (
        "Inhoudsopgave",
        "Bronnen",
        "Gesimuleerde tekst.",
        "Gemaakt door de simulator van Atelier, niet door een taalmodel.",
        "Sommige tekens van deze tekst ontbreken in de lettertypen van deze pdf en verschijnen als blokjes. De andere "
        "exports zijn volledig.",
    ),
    "pl": (
        "Spis treści",
        "Bibliografia",
        "Tekst symulowany.",
        "Utworzony przez symulator Atelier, a nie przez model językowy.",
        "Niektórych znaków tego tekstu brakuje w czcionkach tego pliku PDF i widać w ich miejscu prostokąty. Pozostałe "
        "eksporty są kompletne.",
    ),
    "sv": (
        "Innehåll",
        "Referenser",
        "Simulerad text.",
        "Gjord av Ateliers simulator, inte av en språkmodell.",
        "Vissa tecken i den här texten saknas i PDF-filens typsnitt och visas som rutor. De andra exporterna är "
        "fullständiga.",
    ),
    "da": (
        "Indhold",
        "Referencer",
        "Simuleret tekst.",
        "Lavet af Ateliers simulator, ikke af en sprogmodel.",
        "Nogle tegn i denne tekst mangler i PDF-filens skrifttyper og vises som bokse. De andre eksporter er "
        "fuldstændige.",
    ),
    "nb": (
        "Innhold",
        "Referanser",
        "Simulert tekst.",
        "Laget av Ateliers simulator, ikke av en språkmodell.",
        "Noen tegn i denne teksten mangler i PDF-filens skrifter og vises som bokser. De andre eksportene er "
        "fullstendige.",
    ),
    "fi": (
        "Sisällys",
        "Lähteet",
        "Simuloitu teksti.",
        "Tekijänä on Atelierin simulaattori, ei kielimalli.",
        "Jotkin tämän tekstin merkit puuttuvat tämän PDF-tiedoston fonteista ja näkyvät laatikkoina. Muut viennit ovat "
        "täydellisiä.",
    ),
    "cs": (
        "Obsah",
        "Zdroje",
        "Simulovaný text.",
        "Vytvořil jej simulátor Atelieru, nikoli jazykový model.",
        "Některé znaky tohoto textu v písmech tohoto PDF chybějí a zobrazují se jako rámečky. Ostatní "
        "exporty jsou úplné.",
    ),
    "ru": (
        "Содержание",
        "Источники",
        "Имитация текста.",
        "Создано симулятором Atelier, а не языковой моделью.",
        "Некоторых знаков этого текста нет в шрифтах этого PDF, вместо них видны прямоугольники. Другие форматы полны.",
    ),
    "uk": (
        "Зміст",
        "Джерела",
        "Імітація тексту.",
        "Створено симулятором Atelier, а не мовною моделлю.",
        "Деяких знаків цього тексту немає у шрифтах цього PDF, замість них видно прямокутники. Інші формати повні.",
    ),
    "tr": (
        "İçindekiler",
        "Kaynaklar",
        "Benzetim metni.",
        "Bir dil modeli değil, Atelier’in benzetimcisi yazdı.",
        "Bu metnin bazı karakterleri bu PDF’in yazı tiplerinde yoktur ve kutu olarak görünür. Diğer "
        "dosyalar eksiksizdir.",
    ),
    "he": (
        "תוכן העניינים",
        "מקורות",
        "טקסט מדומה.",
        "נוצר על ידי הסימולטור של Atelier, ולא על ידי מודל שפה.",
        "חלק מהתווים בטקסט זה חסרים בגופנים של קובץ ה־PDF ומוצגים כריבועים. שאר הקבצים שלמים.",
    ),
    "ar": (
        "المحتويات",
        "المراجع",
        "نص محاكى.",
        "من صنع محاكي Atelier، وليس من صنع نموذج لغوي.",
        "بعض أحرف هذا النص غير موجودة في خطوط ملف PDF هذا وتظهر كمربعات. الملفات الأخرى كاملة.",
    ),
    "zh": (
        "目录",
        "参考文献",
        "模拟文本。",
        "由 Atelier 的模拟器生成，而非语言模型。",
        "此 PDF 的字体缺少文中的部分字符，这些字符显示为方框。其他格式的文件是完整的。",
    ),
    "ja": (
        "目次",
        "参考文献",
        "模擬テキスト。",
        "言語モデルではなく、Atelier のシミュレーターが作成しました。",
        "この PDF のフォントにない文字は四角で表示されます。他の形式のファイルは完全です。",
    ),
    "ko": (
        "차례",
        "참고 문헌",
        "모의 텍스트.",
        "언어 모델이 아니라 Atelier의 시뮬레이터가 만들었습니다.",
        "이 PDF의 글꼴에 없는 일부 문자는 네모로 표시됩니다. 다른 형식의 파일은 온전합니다.",
    ),
}
