"""The words the answer grammar knows. Plain tables, so that a reader can see and extend what counts as denial, hedge or
correction."""

from __future__ import annotations

import re


def words(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


# A single letter after one of these belongs to a name, not to an option (rule 10).
NAME_BEFORE = words(
    """vitamin vitamins vit hepatitis hep figure fig figs panel image images picture view series type types group groups grade stage class category
    factor lead protein influenza flu level segment zone area region table part patient case plan appendix section column row point line
    haemophilus streptococcus immunoglobulin ig complement antigen receptor phase period band wave haemoglobin hemoglobin dr mr subtype
    nerve arch child pugh tanner dukes stanford killip class syndrome chromosome chain serotype genotype carrier ring score blood malignant
    apolipoprotein troponin cystatin coenzyme amyloid cathepsin coxsackie ward bed slide plate frame
    haemophilia hemophilia rh rhesus anti lipoprotein hla apo staph strep hb hgb binet arbor debakey weber bosniak cytochrome amphotericin
    cyclosporin cyclosporine ciclosporin polymyxin mitomycin penicillin toxin prostaglandin kerley interferon lp"""
)
# Those whose letter may stand in brackets or behind a number: "panel (b)", "figure 2 B".
FIGURES = words("figure figures fig figs panel panels table plate slide lp lipoprotein rh")
# Those that are written with a full stop or an apostrophe: "Fig. C", "Dukes' C".
ABBREVIATED_BEFORE = words("fig figs vit hep mr mrs ms dr dukes")
# A single letter before one of these belongs to a name.
NAME_AFTER = words(
    """cell cells line lines wave waves virus viruses lymphocyte lymphocytes streptococcus streptococci antigen antibody scan mode fibre
    fibres fiber fibers sign strain subunit protein reactive spine tube ray rays natriuretic symptoms band chain peptide dimer type types arm waves
    point section sections vitamins vitamin ratio tubes"""
)
# Second words of species names: "C. difficile" is a bacterium (rule 10).
EPITHETS = words(
    """difficile coli fragilis aureus epidermidis pneumoniae albicans jejuni pylori burgdorferi botulinum tetani perfringens anthracis cereus
    pertussis bronchiseptica abortus melitensis suis trachomatis psittaci diphtheriae neoformans immitis dermatitidis capsulatum fumigatus
    flavus niger faecalis faecium cloacae aerogenes influenzae ducreyi parainfluenzae pneumophila monocytogenes meningitidis gonorrhoeae
    catarrhalis aeruginosa cepacia mirabilis vulgaris enterica typhi typhimurium sonnei flexneri dysenteriae marcescens pyogenes agalactiae
    mutans viridans bovis pallidum cholerae parahaemolyticus vulnificus enterocolitica pestis pseudotuberculosis tuberculosis leprae avium
    kansasii israelii henselae quintana burnetii rickettsii prowazekii falciparum vivax ovale malariae knowlesi gondii lamblia histolytica
    vaginalis cruzi brucei donovani mansoni haematobium japonicum solium saginata granulosus lumbricoides duodenale stercoralis trichiura
    vermicularis medinensis bancrofti loa volvulus scabiei carinii jirovecii glabrata krusei tropicalis parapsilosis auris elegans gallolyticus
    urealyticum hominis genitalium baumannii oxytoca freundii morganii stuartii
    diff fib nucleatum acnes canis felis haemolyticus lugdunensis saprophyticus maltophilia necrophorum multocida hydrophila whipplei tularensis
    terreus marneffei schenckii gattii africanum ulcerans marinum abscessus chelonae fortuitum intracellulare recurrentis interrogans microti
    parvum belli cayetanensis hepatica sinensis westermani latum nana multilocularis spiralis"""
)
# The same in Chinese: what the text before the letter ends with, and what the text after it begins with.
ZH_NAME_BEFORE = ("维生素", "图", "附图", "肝炎", "类型", "因子", "导联", "素")
ZH_NAME_AFTER = (
    "超",
    "型",
    "线",
    "细胞",
    "组",
    "族",
    "反应",
    "臂",
    "期",
    "级",
    "区",
    "段",
    "图",
    "淋巴",
    "波",
    "肝",
    "肽",
    "蛋白",
    "链",
    "类",
)
# "A" or "I" before one of these is a label; before any other word "A" is the article and "I" the pronoun.
VERBISH = words(
    """is was are were seems appears because since as and or but nor not fits fit matches would will should could can cannot may might must
    looks shows has best only then rather instead though although while unlikely likely possible wrong incorrect correct right definitely
    probably most here again if when also remains makes does doesn't isn't wasn't can't over vs versus xor so by than to alone too
    describes explains reads applies stands wins better first second last excluded ruled no yes plus with without
    together along combined coupled it i i'd"""
)
PRONOUN_LABEL = words("is was because since fits seems and or as rather instead over vs versus")
# With only these between two letters the second one is an option as well: "b or c".
LISTING = words("or and nor not than rather over vs versus xor option choice letter , / & +") | {"\n"}
# Before a lower-case letter one of these makes it a label: "option b", "I would go with b".
LOWER_BEFORE = words(
    """option options choice answer letter choose chose pick select selected with for is say opción opcion opçao opção lettre letra buchstabe
    réponse respuesta resposta antwort risposta lettera antwoord be perhaps maybe probably likely possibly definitely
    surely certainly clearly so therefore thus hence it's that's"""
)
# Words that do not weaken a commitment: a clause of these and one option is a bare choice.
LIGHT = words(
    """the a an my our your i i'm i'd i'll i've we this that it it's its he she is are was were be been being am will would should shall must
    answer answers option options choice choices letter letters choose chooses choosing chose chosen pick picks picking select selects selected
    selecting opt opting vote go goes going went take taking say saying with for on to of in by at from final finally correct right best most
    truly really just only definitely certainly clearly surely obviously confidently confident sure certain likely probable probably possibly
    perhaps maybe think thinks believe feel guess conclude conclusion concluding decide decision diagnosis impression opinion overall both one
    single here there have has had do does did suggest suggests suggesting indicate indicates indicating show shows showing
    support supports fit fits matches match favour favours favor favors mean means point points consistent compatible evidence sign signs
    definite obvious image film scan picture therefore so thus hence then now yes please hope looks look like appears appear seems seem
    correspond corresponds called named stick staying stay settle settled response result solution question statement statements
    want accept accepts left remain remains actual actually all these those them they any could can may might
    é è e es est ce la el le o die der das ist lautet correcta correct correcto correta bonne réponse respuesta resposta antwort risposta antwoord
    letra lettre lettera buchstabe opción opcion opção finale richtige opzione corretta réponses ответ правильный
    答 案 正 确 选 项 择 应 当 为 是 的 最 终 我 们 认 本 题 目 对 诊 断 结 论 该 则 就 属 于 判 佳 符 合 支 持 提 示 显 可 见 患 者 故 考 虑 有
    会 也 都 把 这 此 处 理 由 综 上 述 填 写 图 像 片 能 会 指 向 倾 觉 得 回 复 一 定 了 吧 呢 啊 解 说 : " ' [ ] { } = < > # ` ¿ ¡"""
)
# Words that a denial reaches across: "not typical of pneumonia", "I cannot make a diagnosis of gout".
REACHED_ACROSS = LIGHT | words(
    """call calls called calling describe described classify classified interpret interpreted regard regarded read report reported label labelled
    diagnose diagnosed identify identified lesion finding findings appearance appearances feature features typical characteristic suggestive
    diagnostic specific pathognomonic confirm confirms confirmed confirming make made making convinced persuaded convincing proof proven prove
    hint trace criteria criterion seen visible present detect detected see find found enough sufficient supported
    occur occurs exist exists belong belongs explain explains of any LACK , HEDGE 0 %"""
)
# A clause with one of these about an answer, but without any option in it, commits to something that is not on offer.
ANSWER_NOUNS = words("answer diagnosis conclusion choice")
COPULAS = words("is : are was =")
# Comparisons and ranges: "more than 5 mm" is not "5 mm".
COMPARES = words("than least most under over below above exceeding nearly almost to between")
UNITS = words(
    """mm cm m km µm μm um nm mg g kg µg μg ug ng ml dl l cl mmol mol iu u ms s sec second seconds min minute minutes h hour hours day days week weeks
    month months year years percent hz khz mhz kev mev mgy gy msv sv bpm mmhg kpa pa hu tesla t d fold times degrees celsius inch inches"""
)

# Read on the normalised text, before anything else: phrases that contain "no", "not" or a letter and mean nothing of
# the kind.
IDIOMS = re.compile(
    r"\b(?:there(?:'s| is) )?(?:no|zero|without(?: a| any)?|beyond(?: a| any)?) (?:reasonable )?(?:doubts?|questions?|hesitation)\b"
    r"|\bnot (?:only|just|merely|entirely sure|quite sure|fully sure|sure|certain)\b"
    r"|\b(?:if|unless) (?:i am|i'm) (?:not )?mistaken\b|\b(?:e\.g\.|i\.e\.|p\.s\.|a\.m\.|p\.m\.|a\.k\.a\.|u\.s\.)(?!\w)|\bn/a\b"
    r"|\b(?:i )?(?:have|has|had|there is|there's) (?:absolutely )?no (?:idea|clue|way|opinion|answer|comment|information|preference|access)\b"
    r"|\bno (?:idea|clue|wonder|opinion|comment|answer|information|one knows|way to (?:tell|know|say))\b|\bin no way\b"
    r"|\bin (?:my|our) view\b|\bno matter(?: (?:what|how|which|whether|if))?\b",
    re.IGNORECASE,
)
_NAILED = r"(?:(?:can(?:not|'t| not)|could(?: not|n't)) be |(?:is|are) not |isn't )"
# Phrase -> control word, tried in this order on the lower-case clause text in which options stand as "@0", "@1".
CONTROL: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), f" {word} " if word else " ")
    for pattern, word in (
        (
            r"\b(?:(?:can ?not|can't|could not|couldn't|may not|should not|shouldn't|is not|isn't|not) (?:yet )?(?:be |been )?"
            r"(?:fully |entirely |completely |safely |definitively )?(?:ruled out|rule out|excluded?|dismiss(?:ed)?|discounted|impossible|unlikely"
            r"|worse|wrong either|incorrect either|far behind)"
            r"|(?!still (?:correct|right))(?:also|equally|still|just as|another) (?:an? )?(?:possible|plausible|likely|possibility|reasonable"
            r"|option|candidate|correct|right|fits?|good|valid|probable|acceptable)"
            r"|(?<!not )(?<!n't )(?<!no longer )(?:acceptable|argue for|case (?:can|could|may|might) be made for|close behind"
            r"|comes second|(?:in|on) (?:the|my) (?:differential|list|table|running)|likewise|same for"
            r"|no worse|other (?:candidate|contender|possibility))"
            r"|(?:ddx?|differential(?: diagnosis)?)(?= :? ?(?:option )?@)|too(?= [.,;!?]|$)"
            r"|(?:could|might|may) (?:also|equally|as well|well) be|in which case|second (?:choice|guess|best)|(?:runner|back)[- ]up|backup|fallback"
            r"|(?<=@\d [;,.] )consider(?= (?:option )?@\d))\b"
            r"|也可能|亦可能|也有可能|都有可能|都可能|均有可能|均可能|可能也|不能排除|不能除外|不排除|未能排除|也可以|其次|次选|也行|也对|也正确",
            "OPEN",
        ),
        (
            r"\b(?:could|might|may|can) (?:well )?be (?:either|both|any|anything)(?: (?:one|of (?:them|these|those)))?(?= [.,;!?]|$)"
            r"|\b(?:cannot|can't|unable to) (?:decide|choose)\b(?! (?:option )?@)"
            r"|\b(?:both|either|each|all)(?: of (?:them|these|those))? (?:is|are|remains?|seems?) (?:possible|plausible|likely|reasonable)\b",
            "or something .",
        ),
        (
            r"\b(?:if (?:it|this|that) (?:were|had been)|had (?:it|this|that) been|were (?:it|this|that))(?= (?:option )?@\d)",
            "XNEG",
        ),
        (
            r"(?:^|(?<=[.;!?] ))(?:rather than|instead of|as opposed to|in contrast to|unlike) ((?:option )?@\d+)(?: ,)?(?= |$)",
            r"NEG \1 .",
        ),
        (r"(?<=@\d) :? ?(?=(?:the|all)(?: the)? (?:others?|rest|remaining)\b)", "."),
        (r"\b((?:more|better|likelier|stronger|closer)\b[^@.;,]{0,30}) than(?= (?:option )?@\d)", r"\1 XNEG"),
        (r"\bas (?:likely|good|probable|plausible|possible|valid|right|correct) as(?= (?:option )?@\d)", "or"),
        (
            r"\b((?:describ|classif|interpret|regard|read|report|label|diagnos|identif)\w*"
            r"(?: (?:this|it|that|these|the|lesion|film|image|scan|findings?|appearances?)){0,3}) as\b",
            r"\1",
        ),
        (r"\b(?:mimics?|mimicking|simulates?|imitates?)(?= (?:an? |the )?(?:option )?@\d)", "XNEG"),
        (r"\btoo \w+ for(?= (?:option )?@\d)", "XNEG"),
        (r"(?<=\d) :(?= @\d+ would\b)", "."),  # "C: A would show a pleural line"
        (r"\bif not(?= (?:option )?@\d)", "or"),
        (
            r"\bas well as\b|\bas well\b|\b(?:together|along|combined|coupled|paired) with\b|\bw /|\bin addition to\b",
            "and",
        ),
        (r"\bso (?:is|are|was|does|do|has)(?= (?:option )?@\d)", "or"),  # "B is wrong. So is C."
        (_NAILED + r"(?:anything|anyone|any one|any other)(?: else)?(?: option)? (?:but|(?:other )?than|except)\b", ""),
        (r"\b(?:nothing|none|no one|no other(?: option| choice| answer)?)(?: else| other)? (?:but|than|except)\b", ""),
        (
            r"\b(?:(?:anything|everything|everyone|(?:all|any|every|each)(?: of (?:them|these|those))?(?: other)?"
            r"(?: (?:option|choice|answer|letter)s?)?) (?:but|except(?: for)?|other than|save|besides|bar|barring|minus)"
            r"|other than|else than|rather than|instead of|as opposed to|in place of|in contrast to|with the exception of|apart from|aside from"
            r"|far from|except(?: for)?|excluding|without|unlike|over(?= (?:option )?@))\b",
            "XNEG",
        ),
        (
            r"\b(?:lacks?|lacking|requires?|would (?:need|require|show|have|produce|cause|present|blunt|appear))\b",
            "NEG LACK",
        ),
        (r"\b(?:rul(?:ed|es?|ing) out|(?:less|least) likely)\b", "NEG"),
        (r"(?<=@\d )otherwise\b|(?<=@\d\d )otherwise\b", "OPEN"),
        (r"\b(?:h+m+|u+h+|u+m+|oh|ah)\b[ ,.…]*", ""),
        (r"\b(?:(?:scratch|strike|forget|disregard|ignore) that|i take (?:that|it) back|never ?mind)\b", "UNDO"),
        (
            r"\b(?:no|but|oh|hmm|hm|and|or)?[ ,]*(?:wait|ho?ld on|hang on|on (?:second thought|second thoughts|reflection|review|balance)"
            r"|correction|i mean|let me (?:correct|rephrase|reconsider|revise)(?: that| this| myself)?|my mistake|i was wrong|i stand corrected"
            r"|sorry|oops|change my (?:answer|mind|choice)(?: from @\d+)?(?: to)?|changed my (?:answer|mind|choice)(?: from @\d+)?(?: to)?"
            r"|edit|update|corrected|actually|or rather|upon (?:reflection|review|second thought)|(?:revised|updated)(?: answer)?|reconsidering"
            r"|apologies|(?:chang|replac)(?:e|ed|ing) ?:?(?: from)? @\d+ (?:into|to|with|by|→)(?= ))"
            r"|(?<=[.…—?;-] )(?:no|not quite|not exactly) ?[,.:;—-] ?(?=(?:it is |it's |that is |the answer is )?@\d)"
            r"|(?<=[.…—?-] )no (?=(?:it is |it's |that is |the answer is )@\d)|(?<=, )no [,:] ?(?=(?:it is |it's )?@\d)"
            r"|(?<=[,.…—?!] )(?:不对|不是|错了|不) ?[,.…—!] ?(?=(?:应该?|而)?[是为选]? ?@\d)"
            r"|等等|等一下|更正|纠正|改为|改选|改成|重新考虑|我错了|说错了|修正",
            "FIX",
        ),
        (
            r"\b(?:no (?:\w+ )?(?:reason|need|grounds|basis|justification|argument|case|longer)"
            r"|against|zero(?: chance| probability| likelihood| evidence)?"
            r"|nothing (?:here |there |in (?:it|this) )?(?:to|that|which|speaks?|supports?"
            r"|suggests?|indicates?|points?|favou?rs?|argues?|fits|matches)"
            r"|i (?:retract|withdraw)|(?:retracted|withdrawn|deleted)(?! [a-z])|crossed out"
            r"|(?:take|took|taking) back|(?:an?|the) (?:distractor|trap|decoy|red herring)|distractors?(?= :)"
            r"|insufficient (?:evidence|grounds|support)|refus(?:e|es|ed|ing)|(?:skip|drop|cross out)(?= (?:option )?@)|the opposite of"
            r"|nope|nah|unable to|off the table|too early|r ?/ ?o"
            r"|(?:is|are|was|were|do|does|did|has|have|had|ca|could|would|should|wo|ai)nt"
            r"|nicht|kein|não|nao|niet|n'est pas|pas(?= (?:l[ae'] ?|option |réponse )?@))\b"
            r"|与[^@,.]{0,8}不(?:相)?(?:符|吻合|一致)|[¬≠]|^!(?= @)",
            "NEG",
        ),
        (r"\bnor\b", "or NEG"),
        (r"\bneither\b", "NEG"),
        (
            r"\b(?:not at all|no (?:way|chance)|(?:absolutely|certainly|definitely|surely|of course) not)\b"
            r"|\b\w+n't\b|\bcannot\b|\bcan not\b|\b(?:not|never|non|no|none|hardly|scarcely|doubt(?:s|ful)?|fails?"
            r"|absent|absence|denies|denied|negative for|free of)\b",
            "NEG",
        ),
        (
            r"\b(?:wrong|incorrect|incorrectly|false|falsely|unlikely|impossible|improbable|implausible"
            r"|inconsistent|incompatible|mistaken|invalid|untrue|incorrect[aeo]s?|falsch|fausse|faux|fals[ao]|errad[ao]|sbagliat[ao])\b",
            "NEG",
        ),
        (
            r"\b(?:reject|exclud|eliminat|discard|dismiss|disfavou?r|refut|contradict|disprov|omit|avoid|disagree)\w*\b"
            r"|\b(?:an?|the) (?:mistake|error)\b"
            r"|\b(?:is|are|was) (?:ruled )?out\b|\bleave out\b",
            "NEG",
        ),
        (r"除了? ?@\d+ ?[以之]?外[^@,.]{0,4}[均都全][^@,.]{0,6}", ""),
        (r"不仅|不但|毫无疑问|无疑|是否", ""),
        (r"而不是|而不选|除了|除去", "XNEG"),
        (
            r"并不是|并非|不应该?选|不选|不是|而非|不对|不正确|不符合|不像|不考虑|不支持|不可能|不太可能|不能选|不能|不应|不为|错误|错的|排除"
            r"|除外|除|没有|未见|否定|以外|之外|无|未|非|不|没|错|否(?!则)",
            "NEG",
        ),
        (
            r"\b(?:because|since|as|given|due to|owing to|considering that|seeing that|the reason being)\b"
            r"|\b(?:explanation|rationale|reasoning|justification)(?= :)|解析|解释|因为|由于|鉴于|原因是|理由是|因",
            "BECAUSE",
        ),
        (r"\b(?:although|though|even though|despite|while|whereas|when|whenever|where|albeit)\b|虽然|尽管", "CONCEDE"),
        (r"\b(?:if|unless|otherwise|else|assuming|provided|depending|depends)\b|如果|若|否则|要么", "COND"),
        (
            r"\b(?:so|therefore|thus|hence|consequently|accordingly|leaving|leaves)\b|所以|因此|故|综上所述|综上|从而|那么",
            "SO",
        ),
        (
            r"\b(?:(?:initial|first|earlier|original|previous) (?:answer|choice|guess|impression|pick|idea) was"
            r"|(?:may|might|could|can) (?:mimic|resemble|simulate|imitate|look like|be (?:mistaken|confused|tempting))"
            r"|(?:one|you|some|many|others) (?:may|might|could|would) (?:think|say|suspect|choose|pick|argue)"
            r"|(?:preliminary|provisional|tentative|prior) (?:answer|choice|guess|impression|pick|idea)(?= :? ?@)"
            r"|used to be|was my (?:first|initial|original) (?:answer|choice|guess|impression|pick|idea|thought)"
            r"|initially|originally|at first|first thought|first glance|consider(?:ed|ing|s)?|tempt(?:ed|ing)"
            r"|(?:was|were) going to (?:say|choose|pick)|would have (?:said|chosen)|entertained|at first sight|differential)\b|起初|最初|曾考虑",
            "PAST",
        ),
        (r"\b(?:but|however|yet|which|sondern|mais|sino)\b|但是|但|而是|然而|却", "but"),
        (
            r"\b(?:would accept|maybe|perhaps|possibly|possible|plausible|alternatively|alternative|alternately|probabl[ey]|likely|also"
            r"|might|may|could)\b|可能|也许|大概|或许",
            "HEDGE",
        ),
        (r"\b(?:between|among)\b|介于", "BETWEEN"),
        (r"或者|或是|抑或|还是|或", "or"),
        (r"以及|并且|和|与|及|跟|同时", "and"),
        (r"\b(?:versus|vs|xor)\b", "or"),
        (r"(@\d+) ?,? and +\w+(?: \w+)? (?:are|were) +NEG\b", r"\1 are NEG"),  # "pneumonia and collapse are not seen"
        (r"(?<=\d) ,(?= @\d+ (?:is|was) +NEG\b)", ";"),  # "A, B is wrong"
        (r"\bXNEG +(?:option )?@\d+ (?:is|are|was|were) +NEG\b", ""),  # "all but B are wrong"
    )
)
